"""The point posterior with an error score, computed from the same forward's logits and features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from uq4ct.model_store.posteriors.samples import CandidateSamples, SharedPass, SinglePassRecord

if TYPE_CHECKING:
    from uq4ct.model_store.adapted_model import AdaptedModel
    from uq4ct.model_store.token_batch import TokenBatch


class ScoredRecord(SinglePassRecord):
    """Abstract: one set of weights and an error score, in one pass."""

    has_error_score: ClassVar[bool] = True


class ErrorScore(nn.Module, ABC):
    """How likely an answer is wrong; its tensors are buffers."""

    @abstractmethod
    def forward(self, logits: Tensor, features: Tensor, options: Tensor) -> Tensor:
        """Score answers, [B], high = likely wrong, from `logits` [B, C], `features` [B, C, d] and `options` [B].

        The logits of absent candidates are -inf.
        """


class ScoredPosterior(SharedPass):
    """One set of weights, with unchanged answers, and an error score."""

    needs_features = True
    samples = 1

    def __init__(self, score: ErrorScore) -> None:
        self._score = score

    @property
    def memory_bytes(self) -> int:
        """Memory of the score's tensors, in bytes."""
        return sum(buffer.nbytes for buffer in self._score.buffers())

    def place(self, device: torch.device, dtype: torch.dtype) -> None:  # noqa: ARG002
        """Move the score's tensors to a device."""
        self._score.to(device)

    @torch.inference_mode()
    def candidate_samples(self, model: AdaptedModel, batch: TokenBatch) -> CandidateSamples:
        """Score a batch as one sample."""
        plan = model.plan(batch)
        output, features = model.run_with_features(plan)
        return self.read_samples(output.logits, output.feu, features, plan.scoring.options)

    def read_samples(
        self, logits: Tensor, feu: Tensor | None, features: Tensor | None, options: Tensor
    ) -> CandidateSamples:
        """See `SharedPass`."""
        if features is None:
            raise ValueError("an error score needs the features of the candidates")
        return CandidateSamples(logits.unsqueeze(0), feu, self._score(logits, features, options))
