"""Random Kronecker factors, and the dense matrix that they represent."""

from __future__ import annotations

import torch
from torch import Tensor

from uq4ct.model_store.posteriors.kronecker import KroneckerFactors


def random_factors(out: int, into: int, ranks: tuple[int, int], source: torch.Generator) -> KroneckerFactors:
    """Float64 factors of random orthonormal bases; `ranks` are those of the output and of the input."""

    def pair(size: int, rank: int) -> tuple[Tensor, Tensor]:
        basis, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=source))
        return basis[:, :rank], torch.rand(rank, dtype=torch.float64, generator=source) * 10

    output, input_ = pair(out, min(ranks[0], out)), pair(into, min(ranks[1], into))
    return KroneckerFactors(*input_, *output)


def dense_curvature(factors: KroneckerFactors) -> Tensor:
    """[out * in, out * in], rows and columns as W.flatten() has them."""
    output = factors.output_basis * factors.output_values @ factors.output_basis.T
    input_ = factors.input_basis * factors.input_values @ factors.input_basis.T
    return torch.kron(output, input_)
