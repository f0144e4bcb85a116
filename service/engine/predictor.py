"""The interface that the engine needs of a model; `model_store.predictor` and `published` implement it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, TypeVar

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.manifest import Manifest

_TOLERANCE = 1e-6  # routing masses are summed in fp32, so FEU may exceed 1 by a rounding error


class Encoded(Protocol):
    """A tokenised question; `length` counts its tokens."""

    @property
    def length(self) -> int: ...


E = TypeVar("E", bound=Encoded)


class Predictor(Protocol[E]):
    """A loaded adapter; a question takes `passes` rows of a forward.

    Adapters with the same `company` that is not None can answer one batch: `answer_with` takes the other adapters with
    their questions and returns the answers of each, its own first. `encode` is called from several threads, the others
    from one.
    """

    @property
    def manifest(self) -> Manifest: ...
    @property
    def token_limit(self) -> int: ...
    @property
    def passes(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def company(self) -> str | None: ...
    def encode(self, question: Question) -> E: ...
    def answer(self, encoded: Sequence[E]) -> Sequence[Answer]: ...
    def answer_with(
        self, encoded: Sequence[E], others: Sequence[tuple[Any, Sequence[E]]]
    ) -> Sequence[Sequence[Answer]]: ...


class Prepared(Protocol):
    """An adapter in memory that is not on its base model yet."""

    @property
    def memory_bytes(self) -> int: ...


class Host(Protocol):
    """A base model in memory.

    `prepare` does most of the work of a load, in any thread; adapters are attached and removed in the thread that runs
    them, between two forwards.
    """

    def prepare(self, stored: StoredAdapter) -> Prepared: ...
    def attach(self, prepared: Any) -> Predictor[Any]: ...
    def remove(self, predictor: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A question and the adapter to answer it: name, name@version or name@alias; None = the default."""

    question: Question
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """An answer and the manifest of the adapter that gave it."""

    answer: Answer
    manifest: Manifest


class UnusableAnswerError(UserError, ValueError):
    """An answer that must not reach a client: not finite, not a distribution, or for a different number of options."""


def check_answer(answer: Answer, options: int) -> None:
    """Raise if an answer must not be served.

    Raises:
        UnusableAnswerError: the probabilities are not a distribution over `options` options, or the option,
            the confidence, FEU or an entropy is out of range, or a number is not finite.
    """
    p = answer.probabilities
    if len(p) != options or not 0 <= answer.option < options:
        raise UnusableAnswerError(f"got option {answer.option} and {len(p)} probabilities for {options} options")
    if not all(0.0 <= value <= 1.0 for value in p) or abs(math.fsum(p) - 1.0) > _TOLERANCE:
        raise UnusableAnswerError(f"probabilities {p} are not a distribution")
    if not abs(answer.confidence - p[answer.option]) <= _TOLERANCE:
        raise UnusableAnswerError(
            f"confidence {answer.confidence} is not the probability {p[answer.option]} of the chosen option"
        )
    if answer.feu is not None and not 0.0 <= answer.feu <= 1.0 + _TOLERANCE:
        raise UnusableAnswerError(f"functional uncertainty {answer.feu} is not between 0 and 1")
    entropies = (answer.total, answer.aleatoric, answer.epistemic)
    if any(value is not None and not 0.0 <= value < math.inf for value in entropies):
        raise UnusableAnswerError(f"entropies {entropies} must be finite and at least 0")
    for field in fields(answer):
        value = getattr(answer, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise UnusableAnswerError(f"{field.name} {value} is not finite")
