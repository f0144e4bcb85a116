"""A predictor without a model: answers are a pure function of the text; attributes slow it down or break it."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.answers import make_answer
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.manifest import Manifest

TOKEN_LIMIT = 64


@dataclass(frozen=True)
class FakeEncoded:
    """A question whose tokens are its words."""

    question: Question
    length: int


def answer_to(question: Question, version: int = 1) -> Answer:
    """Return an answer that depends only on the version and on every character of the question."""
    seed = f"{version}|{question.context}|{question.text}|"
    weights = [1 + zlib.crc32(f"{seed}{option}".encode()) % 97 for option in question.options]
    probabilities = [weight / sum(weights) for weight in weights]
    return make_answer(probabilities, feu=zlib.crc32(question.text.encode()) % 1001 / 1000)


def words_of(question: Question) -> int:
    """Return the length of a question in the fake's tokens."""
    return len(" ".join([question.text, question.context or "", *question.options]).split())


class FakePredictor:
    """Implements `service.engine.predictor.Predictor`. `forward_may_start` blocks every forward while it is cleared."""

    def __init__(self, manifest: Manifest, token_limit: int = TOKEN_LIMIT, seconds: float = 0.0) -> None:
        self.manifest = manifest
        self.token_limit = token_limit
        self.passes = manifest.posterior.passes
        self.company: str | None = None
        self.memory_bytes = 8  # like the tensors in the tests' store
        self.seconds = seconds
        self.on_forward: Callable[[], object] = lambda: None
        self.batches: list[list[Question]] = []
        self.shared: list[list[tuple[str, list[Question]]]] = []  # batches with other adapters, by adapter
        self.forward_may_start = threading.Event()
        self.forward_may_start.set()
        self.forward_started = threading.Event()
        self.failures_to_come = 0
        self.spoil: dict[str, float] = {}  # fields to replace in every answer
        self.threads: set[str] = set()  # names of the threads that ran forwards
        self.tokenizer_threads: set[str] = set()
        self.on_its_base = True
        self.most_questions = 10**9  # of a forward; above it `no_memory` is raised
        self.no_memory: BaseException = MemoryError()
        self.broken_tokens: set[int] = set()  # totals of a forward's tokens for which `no_memory` is raised

    def encode(self, question: Question) -> FakeEncoded:
        self.tokenizer_threads.add(threading.current_thread().name)
        length = words_of(question)
        if length > self.token_limit:
            raise QuestionTooLongError(length, self.token_limit)
        if question.text == "break the tokenizer":
            raise KeyError("secret text")
        return FakeEncoded(question, length)

    def answer(self, encoded: Sequence[FakeEncoded]) -> list[Answer]:
        self.threads.add(threading.current_thread().name)
        self.batches.append([item.question for item in encoded])
        self.forward_started.set()
        self.on_forward()
        if not self.forward_may_start.wait(20):
            raise TimeoutError("the test never let the forward start")
        time.sleep(self.seconds)
        if not self.on_its_base:
            raise RuntimeError(f"{self.manifest.reference} was asked after it was removed")
        if len(encoded) > self.most_questions or sum(item.length for item in encoded) in self.broken_tokens:
            raise self.no_memory
        if self.failures_to_come:
            self.failures_to_come -= 1
            raise RuntimeError(f"out of memory on {encoded[0].question.text}")
        return [replace(answer_to(item.question, self.manifest.version), **self.spoil) for item in encoded]

    def answer_with(
        self, encoded: Sequence[FakeEncoded], others: Sequence[tuple[FakePredictor, Sequence[FakeEncoded]]]
    ) -> list[list[Answer]]:
        parts = [(self, encoded), *others]
        assert len({id(predictor) for predictor, _ in parts}) == len(parts)
        self.shared.append([(one.manifest.reference, [item.question for item in asked]) for one, asked in parts])
        return [one.answer(asked) for one, asked in parts]

    def served_texts(self) -> list[list[str]]:
        """Return the texts of every forward, except warm-ups."""
        return [[question.text for question in batch] for batch in self.batches if batch[0].id != "warm-up"]


class FakeHost:
    """Implements `service.engine.predictor.Host`: each version uses one of the given predictors, or a new one.

    `preparing_may_end` and `adding_may_end` block every load while they are cleared; `refused` maps a version to the
    error of adding it. `threads` are those that changed the base model, `preparing_threads` those that prepared
    adapters for it.
    """

    def __init__(self, *predictors: FakePredictor) -> None:
        self.given = {predictor.manifest.reference: predictor for predictor in predictors}
        self.present: dict[str, FakePredictor] = {}
        self.added: list[str] = []
        self.removed: list[str] = []
        self.refused: dict[str, Exception] = {}
        self.adding_may_end = threading.Event()
        self.adding_may_end.set()
        self.threads: set[str] = set()
        self.preparing_threads: set[str] = set()
        self.preparing_may_end = threading.Event()
        self.preparing_may_end.set()

    def load(self) -> FakeHost:
        """Return the base model without adapters."""
        self.present.clear()
        return self

    def prepare(self, stored: StoredAdapter) -> FakePredictor:
        self.preparing_threads.add(threading.current_thread().name)
        if not self.preparing_may_end.wait(20):
            raise TimeoutError("the test never let the preparation end")
        return self.given.get(stored.manifest.reference) or FakePredictor(stored.manifest)

    def attach(self, prepared: FakePredictor) -> FakePredictor:
        reference = prepared.manifest.reference
        self.threads.add(threading.current_thread().name)
        self.added.append(reference)
        if not self.adding_may_end.wait(20):
            raise TimeoutError("the test never let the load end")
        if reference in self.refused:
            raise self.refused[reference]
        if reference in self.present:
            raise ValueError(f"{reference} was already added")
        self.present[reference] = prepared
        prepared.on_its_base = True
        return prepared

    def remove(self, predictor: FakePredictor) -> None:
        predictor.on_its_base = False
        self.threads.add(threading.current_thread().name)
        del self.present[predictor.manifest.reference]
        self.removed.append(predictor.manifest.reference)
