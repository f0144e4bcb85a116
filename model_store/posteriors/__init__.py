"""Posteriors: from stored weights to S sets of candidate logits; one file per kind, with configuration and mathematics.

A kind's configuration is part of the manifest and builds the posterior from the stored tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field
from torch import Tensor

from uq4ct.model_store.posteriors.adue import AdueConfig
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.model_store.posteriors.ensemble import EnsembleConfig
from uq4ct.model_store.posteriors.laplace import LaplaceConfig
from uq4ct.model_store.posteriors.mahalanobis import MahalanobisConfig
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.posteriors.rank_mask import RankMaskConfig
from uq4ct.model_store.posteriors.samples import STORED_PREFIX, CandidateSamples, Posterior
from uq4ct.model_store.posteriors.weight_gaussian import GaussianConfig

__all__ = ["CandidateSamples", "Posterior", "PosteriorConfig", "adapter_tensors"]

PosteriorConfig = Annotated[
    PointConfig
    | DropoutConfig
    | EnsembleConfig
    | RankMaskConfig
    | GaussianConfig
    | LaplaceConfig
    | MahalanobisConfig
    | AdueConfig,
    Field(discriminator="kind"),
]


def adapter_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the adapter's own tensors, without those that its posterior added."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(STORED_PREFIX)}
