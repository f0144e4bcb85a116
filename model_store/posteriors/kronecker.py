"""Curvature of a weight as a Kronecker product of two eigendecompositions; its covariance under a Gaussian prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from uq4ct.model_store.posteriors.samples import STORED_PREFIX


@dataclass(frozen=True, slots=True)
class KroneckerFactors:
    """The Fisher information of a weight W [out, in], summed over the training questions: (U u U') x (V v V').

    `input_basis` U is [in, k], `input_values` u [k]; `output_basis` V is [out, l], `output_values` v [l]. The columns
    are orthonormal; with k < in or l < out the rank is low, and there is no curvature outside of it.
    """

    input_basis: Tensor
    input_values: Tensor
    output_basis: Tensor
    output_values: Tensor

    @property
    def curvature(self) -> Tensor:
        """The kept eigenvalues, float64 [l, k]; the others are 0."""
        return torch.outer(self.output_values.double(), self.input_values.double())

    @property
    def memory_bytes(self) -> int:
        """Memory of the factors, in bytes."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def covariance(self, jacobian: Tensor, precisions: Iterable[float]) -> Tensor:
        """Return J P^-1 J' with P = precision * I + the curvature, for each precision: float64 [G, B, C, C].

        `jacobian` is [B, C, out, in]. The result is a sum of squares within the kept rank plus one outside of it, so
        that nothing cancels however small the precision is.
        """
        inside = self.output_basis.T @ (jacobian @ self.input_basis)  # [B, C, l, k]
        outside = _gram(jacobian - self.output_basis @ inside @ self.input_basis.T)
        curvature = self.curvature
        inside = inside.double()
        parts = [outside / precision + _gram(inside * (precision + curvature).rsqrt()) for precision in precisions]
        return torch.stack(parts)

    def to(self, device: torch.device, dtype: torch.dtype) -> KroneckerFactors:
        """Return the same factors on another device or in another dtype."""
        return KroneckerFactors(*(getattr(self, field.name).to(device, dtype) for field in fields(self)))

    def stored(self, name: str) -> dict[str, Tensor]:
        """Return the factors as tensors of a stored adapter; `name` is the weight's stored name."""
        return {
            f"{STORED_PREFIX}{name}.{field.name}": getattr(self, field.name).float().contiguous()
            for field in fields(self)
        }


def stored_factors(name: str, tensors: Mapping[str, Tensor]) -> KroneckerFactors:
    """Return the factors of a weight from the tensors of a stored adapter."""
    return KroneckerFactors(*(tensors[f"{STORED_PREFIX}{name}.{field.name}"] for field in fields(KroneckerFactors)))


def _gram(rows: Tensor) -> Tensor:
    """Return the inner products of all pairs: [B, C, out, in] -> float64 [B, C, C]."""
    flat = rows.flatten(2).double()
    return flat @ flat.mT
