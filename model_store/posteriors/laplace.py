"""Laplace-LoRA: a Gaussian around the trained weights, with a predictive linearised in them (Yang et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, FiniteFloat
from torch import Tensor

from uq4ct.model_store.posteriors.draws import bank_places, generator
from uq4ct.model_store.posteriors.kronecker import KroneckerFactors, stored_factors
from uq4ct.model_store.posteriors.samples import CandidateSamples, PosteriorRecord
from uq4ct.model_store.posteriors.taps import BankTaps, weight_jacobians
from uq4ct.model_store.questions import MAX_OPTIONS

if TYPE_CHECKING:
    from uq4ct.model_store.adapted_model import AdaptedModel
    from uq4ct.model_store.token_batch import TokenBatch

JACOBIAN_VALUES = 2**28  # bounds the memory of Jacobians: 1 GiB in fp32
JITTER = 1e-6  # share of the mean variance that is added to each variance, so that the covariance has a Cholesky root


class LaplaceConfig(PosteriorRecord):
    """S draws of the candidate logits from N(f, J P^-1 J'), f those of the trained weights, J their exact Jacobian.

    P is the prior precision plus the curvature of the training questions, Kronecker-factored for each weight.
    """

    kind: Literal["laplace"] = "laplace"
    samples: int = Field(ge=2, multiple_of=2, description="S, draws in pairs of opposite noise; draws cost no passes")
    prior_precision: FiniteFloat = Field(gt=0, description="of every weight of A and B, around 0")
    options: int = Field(ge=2, description="C, the largest number of options of a training question")
    seed: int = Field(ge=0, description="of the noise")

    @property
    def passes(self) -> int:
        """One forward plus a backward for each of C candidates; a backward to frozen weights costs about a forward.

        A question with fewer options costs less; products of Jacobians, not counted here, add about one pass.
        """
        return 1 + self.options

    def build(self, tensors: Mapping[str, Tensor]) -> LaplacePosterior:
        """Build the posterior."""
        names = [f"{place}.{weight}" for place in bank_places(tensors) for weight in ("A", "B")]
        factors = {name: stored_factors(name, tensors) for name in names}
        return LaplacePosterior(factors, self.prior_precision, antithetic_noise(self.samples, self.seed))


class LaplacePosterior:
    """The linearised predictive; `noise` [S, most options] is the same for every question."""

    def __init__(self, factors: Mapping[str, KroneckerFactors], prior_precision: float, noise: Tensor) -> None:
        self._factors = dict(factors)
        self._prior_precision = prior_precision
        self._noise = noise

    @property
    def samples(self) -> int:
        """S."""
        return len(self._noise)

    @property
    def memory_bytes(self) -> int:
        """Memory of the factors and the noise, in bytes."""
        return self._noise.nbytes + sum(factors.memory_bytes for factors in self._factors.values())

    def place(self, device: torch.device, dtype: torch.dtype) -> None:  # noqa: ARG002
        """Move the factors and the noise to a device."""
        self._noise = self._noise.to(device)
        self._factors = {name: one.to(device, one.input_basis.dtype) for name, one in self._factors.items()}

    def candidate_samples(self, model: AdaptedModel, batch: TokenBatch) -> CandidateSamples:
        """Score the batch and draw around its logits."""
        predictive = linearise(model, batch, self._factors, [self._prior_precision])
        samples = draw_logits(predictive.logits, predictive.covariances[0], self._noise)
        return CandidateSamples(samples, predictive.feu)


@dataclass(frozen=True, slots=True)
class Predictive:
    """The Gaussian of the candidate logits.

    `logits` [B, C] are those of the trained weights, -inf where a question has no such option; `covariances`, float64
    [G, B, C, C], are theirs for each of G prior precisions, 0 where there is no such option; `feu` [B] is None without
    routers.
    """

    logits: Tensor
    covariances: Tensor
    feu: Tensor | None


def linearise(
    model: AdaptedModel,
    batch: TokenBatch,
    factors: Mapping[str, KroneckerFactors],
    precisions: Sequence[float],
) -> Predictive:
    """Compute the Gaussian of the candidate logits with C backward passes; `factors` are keyed by the weights' names.

    The scale of cloze scoring is part of the logits, but not a parameter of the posterior.
    """
    width = batch.width
    parameters = sum(len(one.input_basis) * len(one.output_basis) for one in factors.values())
    rows = max(1, JACOBIAN_VALUES // (parameters * width))
    with torch.inference_mode(False):  # inference mode cannot save tensors for a backward pass
        parts = [_linearise(model, portion, factors, precisions) for portion in batch.portions(rows)]
    missing = [width - part.logits.shape[1] for part in parts]
    return Predictive(
        torch.cat([F.pad(part.logits, (0, m), value=-torch.inf) for part, m in zip(parts, missing, strict=True)]),
        torch.cat([F.pad(part.covariances, (0, m, 0, m)) for part, m in zip(parts, missing, strict=True)], dim=1),
        None if parts[0].feu is None else torch.cat([part.feu for part in parts if part.feu is not None]),
    )


def _linearise(
    model: AdaptedModel,
    batch: TokenBatch,
    factors: Mapping[str, KroneckerFactors],
    precisions: Sequence[float],
) -> Predictive:
    with torch.enable_grad():
        through = BankTaps()
        output = model(batch, through)
        jacobians = weight_jacobians(output.logits, through.taps)
    logits = output.logits.detach()
    covariances = torch.zeros(
        len(precisions), *logits.shape, logits.shape[1], dtype=torch.float64, device=logits.device
    )
    with torch.no_grad():
        for name, jacobian in jacobians.items():
            placed = factors[name].to(jacobian.device, jacobian.dtype)
            covariances += placed.covariance(jacobian, precisions)
    return Predictive(logits, covariances, None if output.feu is None else output.feu.detach())


def antithetic_noise(samples: int, seed: int) -> Tensor:
    """Return standard normal noise for the largest possible number of options: float64 [S, options].

    The second half is minus the first, so that the mean of the draws is the trained weights' logits.
    """
    half = torch.randn(samples // 2, MAX_OPTIONS, dtype=torch.float64, generator=generator(seed, "laplace"))
    return torch.cat([half, -half])


def draw_logits(logits: Tensor, covariance: Tensor, noise: Tensor) -> Tensor:
    """Draw [S, B, C] from N(logits, covariance), `logits` [B, C] with -inf where a question has no such option.

    The Cholesky root of a question's own candidates does not depend on the missing ones, which come last.
    """
    real = logits.isfinite()
    variances = covariance.diagonal(dim1=1, dim2=2)
    mean = (variances * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
    added = torch.where(real, (JITTER * mean).clamp(min=torch.finfo(torch.float64).tiny), 1.0)
    root, failed = torch.linalg.cholesky_ex(covariance + added.diag_embed())  # without waiting for an error
    root = torch.where(failed.view(-1, 1, 1) == 0, root, torch.nan)
    drawn = torch.einsum("sc,bdc->sbd", noise[:, : logits.shape[1]], root)
    return (logits + drawn).to(logits.dtype)
