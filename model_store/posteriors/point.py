"""The posterior of one set of weights: one deterministic pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from uq4ct.model_store.posteriors.samples import CandidateSamples, SharedPass, SinglePassRecord

if TYPE_CHECKING:
    from uq4ct.model_store.adapted_model import AdaptedModel
    from uq4ct.model_store.adapters.context import BankCall
    from uq4ct.model_store.token_batch import TokenBatch


class PointConfig(SinglePassRecord):
    """One set of weights: a deterministic answer in one pass."""

    kind: Literal["point"] = "point"

    def build(self, tensors: Mapping[str, Tensor]) -> PointPosterior:  # noqa: ARG002
        """Build the posterior; the weights are the model's own."""
        return PointPosterior()


class PointPosterior(SharedPass):
    """All mass on the model's weights; `through`, if given, replaces the calls of its expert banks."""

    needs_features = False
    samples = 1
    memory_bytes = 0

    def __init__(self, through: BankCall | None = None) -> None:
        self._through = through

    @property
    def shareable(self) -> bool:
        """See `SharedPass`."""
        return self._through is None

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """See `Posterior`; there are no tensors."""

    @torch.inference_mode()
    def candidate_samples(self, model: AdaptedModel, batch: TokenBatch) -> CandidateSamples:
        """Return the logits of the one set of weights as one sample."""
        output = model(batch, self._through)
        return CandidateSamples(output.logits.unsqueeze(0), output.feu)

    def read_samples(
        self,
        logits: Tensor,
        feu: Tensor | None,
        features: Tensor | None,  # noqa: ARG002
        options: Tensor,  # noqa: ARG002
    ) -> CandidateSamples:
        """See `SharedPass`; the forward ran through the unchanged banks."""
        return CandidateSamples(logits.unsqueeze(0), feu)
