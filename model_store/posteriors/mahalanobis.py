"""Distance of the chosen option's feature from the training questions' classes (Lee et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.posteriors.samples import STORED_PREFIX
from uq4ct.model_store.posteriors.scored import ErrorScore, ScoredPosterior, ScoredRecord

MEANS = f"{STORED_PREFIX}means"
WHITENING = f"{STORED_PREFIX}whitening"


class MahalanobisConfig(ScoredRecord):
    """The point posterior; its error score is a squared distance from 0 upwards, not a probability.

    It stores `posterior.means` [K, d] of the classes and `posterior.whitening` [d, d].
    """

    kind: Literal["mahalanobis"] = "mahalanobis"
    error_score: Literal["squared_distance"] = Field(
        default="squared_distance", description="its meaning: it only ranks answers; it is not a probability"
    )
    shrinkage: float = Field(ge=0, le=1, description="the share of the identity in the stored covariance")

    def build(self, tensors: Mapping[str, Tensor]) -> ScoredPosterior:
        """Build the posterior."""
        return ScoredPosterior(MahalanobisScore(tensors[MEANS].float(), tensors[WHITENING].float()))


class MahalanobisScore(ErrorScore):
    """The squared Mahalanobis distance of the chosen option's feature to the nearest class.

    Source: Lee et al. 2018, equation 2, without their layers and input noise.
    """

    def __init__(self, means: Tensor, whitening: Tensor) -> None:
        super().__init__()
        self.register_buffer("means", means)
        self.register_buffer("whitening", whitening)
        self.means: Tensor
        self.whitening: Tensor

    def forward(self, logits: Tensor, features: Tensor, options: Tensor) -> Tensor:  # noqa: ARG002
        """See `ErrorScore`."""
        chosen = features[torch.arange(len(features), device=features.device), logits.argmax(dim=-1)]
        differences = chosen.float().unsqueeze(1) - self.means  # [B, K, d]
        return (differences @ self.whitening.T).square().sum(dim=-1).amin(dim=-1)


@dataclass(frozen=True, slots=True)
class ClassGaussians:
    """Gaussians with `means` [K, d] and a shared covariance, held as `whitening` W [d, d] in fp32.

    |W (f - mean)|^2 is the squared distance.
    """

    means: Tensor
    whitening: Tensor
    shrinkage: float


def fit_class_gaussians(features: Tensor, classes: Tensor) -> ClassGaussians:
    """Fit class means and the shrunk covariance of the residuals, from `features` [n, d] and `classes` long [n].

    Classes without features are left out. W is the inverse of the covariance's Cholesky factor, computed in fp64.

    Raises:
        ValueError: the features do not vary within the classes.
    """
    _, own = classes.unique(return_inverse=True)
    counts = torch.bincount(own).double().unsqueeze(1)
    rows = features.double()
    means = rows.new_zeros(len(counts), rows.shape[1]).index_add(0, own, rows) / counts
    covariance, shrinkage = ledoit_wolf(rows - means[own])
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        raise ValueError(f"{len(rows)} features of {len(counts)} classes do not vary enough for a covariance")
    identity = torch.eye(len(covariance), dtype=torch.float64)
    whitening = torch.linalg.solve_triangular(factor, identity, upper=False)
    return ClassGaussians(means.float(), whitening.float(), shrinkage)


def ledoit_wolf(rows: Tensor) -> tuple[Tensor, float]:
    """Return the shrunk covariance (1 - a) S + a tr(S) / d I of centred rows [n, d] in fp64, and a in [0, 1].

    a estimates the share of lowest expected squared error. Source: Ledoit and Wolf 2004, lemma 3.4.
    """
    count, width = rows.shape
    sample = rows.T @ rows / count
    level = sample.trace() / width
    identity = torch.eye(width, dtype=rows.dtype)
    distance = (sample - level * identity).square().sum()
    noise = (rows.square().sum(dim=1).square().mean() - sample.square().sum()) / count
    shrinkage = (noise / distance).clamp(0, 1).item() if noise > 0 and distance > 0 else 0.0
    return (1 - shrinkage) * sample + shrinkage * level * identity, shrinkage
