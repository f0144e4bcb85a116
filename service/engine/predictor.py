"""What the engine needs of a model: the shapes that `model_store.predictor` and `published` have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.manifest import Manifest

_TOLERANCE = 1e-6  # routing masses are summed in fp32, so FEU may lie a rounding error above 1


class Encoded(Protocol):
    """A tokenised question; `length` counts its tokens."""

    @property
    def length(self) -> int: ...


class Answer(Protocol):
    """Probabilities in the order of the options; entropies in nats; null where the method has no such number."""

    @property
    def option(self) -> int: ...
    @property
    def confidence(self) -> float: ...
    @property
    def probabilities(self) -> tuple[float, ...]: ...
    @property
    def feu(self) -> float | None: ...
    @property
    def total(self) -> float: ...
    @property
    def aleatoric(self) -> float | None: ...
    @property
    def epistemic(self) -> float | None: ...
    @property
    def error_score(self) -> float | None: ...


E = TypeVar("E", bound=Encoded)


class Predictor(Protocol[E]):
    """A loaded adapter, to which a question is `passes` rows of a forward.

    `encode` is called from several threads, `answer` from one.
    """

    @property
    def manifest(self) -> Manifest: ...
    @property
    def token_limit(self) -> int: ...
    @property
    def passes(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def encode(self, question: Question) -> E: ...
    def answer(self, encoded: Sequence[E]) -> Sequence[Answer]: ...


class Host(Protocol):
    """A base model in memory; adapters are put on it and taken off it in the thread that asks them."""

    def add(self, stored: StoredAdapter) -> Predictor[Any]: ...
    def remove(self, predictor: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """A question and the adapter that is to answer it: name, name@version or name@alias; None is the default."""

    question: Question
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """An answer and the manifest of the very adapter that gave it."""

    answer: Answer
    manifest: Manifest


class UnusableAnswerError(UserError, ValueError):
    """An answer that must not reach a client: not finite, not a distribution, or of another question."""


def check_answer(answer: Answer, options: int) -> None:
    """Refuse an answer whose numbers cannot be served.

    Raises:
        UnusableAnswerError: the probabilities are not a distribution over `options` options, or the option,
            the confidence, FEU, an entropy or the error score is out of its range.
    """
    p = answer.probabilities
    if len(p) != options or not 0 <= answer.option < options:
        raise UnusableAnswerError(f"option {answer.option} and {len(p)} probabilities for {options} options")
    if not all(0.0 <= value <= 1.0 for value in p) or abs(math.fsum(p) - 1.0) > _TOLERANCE:
        raise UnusableAnswerError(f"probabilities {p} are not a distribution")
    if not abs(answer.confidence - p[answer.option]) <= _TOLERANCE:
        raise UnusableAnswerError(f"confidence {answer.confidence} of an option with {p[answer.option]}")
    if answer.feu is not None and not 0.0 <= answer.feu <= 1.0 + _TOLERANCE:
        raise UnusableAnswerError(f"functional uncertainty {answer.feu} is not between 0 and 1")
    entropies = (answer.total, answer.aleatoric, answer.epistemic)
    if any(value is not None and not 0.0 <= value < math.inf for value in entropies):
        raise UnusableAnswerError(f"entropies {entropies} are not finite and at least 0")
    if answer.error_score is not None and not math.isfinite(answer.error_score):
        raise UnusableAnswerError(f"error score {answer.error_score} is not finite")
