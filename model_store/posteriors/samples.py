"""The output of every posterior: S sets of candidate logits for each question."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import torch
from torch import Tensor

from uq4ct.model_store.frozen import Frozen

if TYPE_CHECKING:
    from uq4ct.model_store.adapted_model import AdaptedModel
    from uq4ct.model_store.token_batch import TokenBatch

STORED_PREFIX = "posterior."  # of the tensors that a posterior adds to an adapter's own


class PosteriorRecord(Frozen):
    """Abstract: the record of a posterior in the manifest.

    Every kind has `samples`, S, and `passes`, the cost of a question in rows of a forward; a backward counts the same.
    """

    has_error_score: ClassVar[bool] = False  # whether its answers have one


class SinglePassRecord(PosteriorRecord):
    """Abstract: one set of weights, in one pass."""

    @property
    def samples(self) -> int:
        """S, the number of draws behind an answer."""
        return 1

    @property
    def passes(self) -> int:
        """The cost of a question, in rows of a forward."""
        return 1


@dataclass(frozen=True, slots=True)
class CandidateSamples:
    """S sets of candidate logits of a batch.

    `logits` [S, B, C] are in fp32, -inf where a question has no such option; `feu` [B] is None without routers;
    `error_score` [B], high = likely wrong, is None if the posterior has no such score.
    """

    logits: Tensor
    feu: Tensor | None
    error_score: Tensor | None = None

    def on_cpu(self) -> CandidateSamples:
        """Return the same samples on the CPU."""
        feu, error_score = (None if one is None else one.cpu() for one in (self.feu, self.error_score))
        return CandidateSamples(self.logits.cpu(), feu, error_score)


class SharedPass(ABC):
    """Abstract: a posterior whose samples follow from one forward that batches of several adapters can share."""

    needs_features: ClassVar[bool]  # of the candidates, as `AdaptedModel.run_with_features` returns them

    @property
    def shareable(self) -> bool:
        """Whether the forward runs through the adapter's unchanged banks."""
        return True

    @abstractmethod
    def read_samples(
        self, logits: Tensor, feu: Tensor | None, features: Tensor | None, options: Tensor
    ) -> CandidateSamples:
        """Return the samples of questions with `logits` [B, C], `feu` [B], `features` [B, C, d] and `options` [B]."""


class Posterior(Protocol):
    """A distribution over weights, used through S fixed draws, so that the same question gets the same answer.

    The draws belong to the posterior, not to a batch. Draws of weights repeat the rows of the batch for each draw; a
    Laplace posterior differentiates the candidate logits and draws around them.
    """

    @property
    def samples(self) -> int:
        """S, the number of draws behind an answer."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Memory beside the adapter's own tensors, in bytes."""
        ...

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move the tensors to a base model's device and, where they replace its weights, to its dtype."""
        ...

    def candidate_samples(self, model: AdaptedModel, batch: TokenBatch) -> CandidateSamples:
        """Score a batch under every draw."""
        ...
