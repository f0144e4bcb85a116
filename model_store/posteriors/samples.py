"""What every posterior yields: S sets of candidate logits for each question."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.scoring.encoding import TokenBatch

STORED_PREFIX = "posterior."  # of the tensors that a posterior adds to an adapter's own


class PosteriorRecord(Frozen):
    """Abstract: a posterior as the manifest states it.

    Every kind has `samples`, S, and `passes`: what a question costs, in rows of a forward; backward passes count alike.
    """

    has_error_score: ClassVar[bool] = False  # whether its answers carry one


class SinglePassRecord(PosteriorRecord):
    """Abstract: one set of weights, in one pass."""

    @property
    def samples(self) -> int:
        """S, the number of draws behind an answer."""
        return 1

    @property
    def passes(self) -> int:
        """Rows of a forward for each question."""
        return 1


@dataclass(frozen=True, slots=True)
class CandidateSamples:
    """`logits` [S, B, C] in fp32, -inf where a question has no such option; `feu` [B] or None without routers;
    `error_score` [B], high = likely wrong, or None where the posterior has no such score of its own."""

    logits: Tensor
    feu: Tensor | None
    error_score: Tensor | None = None


class Posterior(Protocol):
    """A distribution over weights as it answers: always the same S draws, so the same question gets the same answer.

    Draws belong to the posterior, never to a batch. Draws of weights repeat the rows of the batch, once for each; a
    Laplace posterior differentiates the candidate logits and draws around them.
    """

    @property
    def samples(self) -> int:
        """S, the number of draws behind an answer."""
        ...

    @property
    def memory_bytes(self) -> int:
        """What it holds beside the adapter's own tensors, in bytes."""
        ...

    def candidate_samples(self, model: AdaptedModel, batch: TokenBatch) -> CandidateSamples:
        """Score a batch under every draw."""
        ...
