"""Carry out a planned week against a service: send due questions and labels in batches, at a given pace."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from uq4ct.model_store.questions import Question
from uq4ct.service.client.async_client import AsyncClient
from uq4ct.service.client.bodies import Ask, Label
from uq4ct.service.client.records import FeedbackReceipt, Prediction
from uq4ct.service.replay.week import Asking

T = TypeVar("T")

STEP = 600.0  # seconds of the week per step; everything due in a step is sent together
_BATCH = 32


@dataclass(slots=True)
class Outcome:
    """The outcome of the week; `problems` counts failed items by problem title."""

    answered: int = 0
    abstained: int = 0
    correct: int = 0
    labelled: int = 0
    problems: Counter[str] = field(default_factory=Counter)


@dataclass(order=True, slots=True)
class _Due:
    """A label that is due at `at`."""

    at: float
    prediction_id: str
    answer: int


class Replay:
    """One run of a plan."""

    def __init__(self, client: AsyncClient, model: str | None, wait_until: Callable[[float], Awaitable[None]]) -> None:
        """Set up the run without sending anything.

        Args:
            model: the `model` of requests to `/predict`.
            wait_until: waits until the given second of the week.
        """
        self.outcome = Outcome()
        self._client = client
        self._model = model
        self._wait_until = wait_until
        self._due: list[_Due] = []

    async def run(self, plan: Iterable[Asking], advance: Callable[[float], None] = lambda _: None) -> Outcome:
        """Send the questions of the plan, and all labels, including those due after it.

        Args:
            advance: called with the seconds of the week that passed since the last call.

        Raises:
            ClientError: the service is unreachable or rejects a request.
        """
        passed = 0.0
        for end, askings in _steps(plan):
            await self._wait_until(end)
            await self._ask(askings)
            await self._tell(end)
            advance(end - passed)
            passed = end
        while self._due:
            passed = max(passed, self._due[0].at) + STEP
            await self._wait_until(passed)
            await self._tell(passed)
        return self.outcome

    async def _ask(self, askings: list[Asking]) -> None:
        for batch in _batches(askings):
            answers = await self._client.predict_batch([_ask_of(asking.question, self._model) for asking in batch])
            for asking, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Prediction):
                    self._take(asking, answer)
                else:
                    self.outcome.problems[answer.title] += 1

    def _take(self, asking: Asking, answer: Prediction) -> None:
        self.outcome.answered += 1
        self.outcome.abstained += answer.abstain
        self.outcome.correct += answer.option.index == asking.question.answer
        if asking.label_at is not None and asking.question.answer is not None:
            heapq.heappush(self._due, _Due(asking.label_at, answer.prediction_id, asking.question.answer))

    async def _tell(self, now: float) -> None:
        labels: list[Label] = []
        while self._due and self._due[0].at <= now:
            due = heapq.heappop(self._due)
            labels.append({"prediction_id": due.prediction_id, "answer": due.answer, "source": "replay"})
        for batch in _batches(labels):
            for receipt in await self._client.feedback_batch(batch):
                if isinstance(receipt, FeedbackReceipt):
                    self.outcome.labelled += 1
                else:
                    self.outcome.problems[receipt.title] += 1


def _batches(items: list[T]) -> Iterator[list[T]]:
    for first in range(0, len(items), _BATCH):
        yield items[first : first + _BATCH]


def _steps(plan: Iterable[Asking]) -> Iterator[tuple[float, list[Asking]]]:
    """Yield the end of each step and its askings, including steps without any."""
    end, askings = STEP, list[Asking]()
    for asking in plan:
        while asking.at > end:
            yield end, askings
            end, askings = end + STEP, []
        askings.append(asking)
    yield end, askings


def _ask_of(question: Question, model: str | None) -> Ask:
    ask: Ask = {"question": question.text, "options": question.options}
    if question.context is not None:
        ask["context"] = question.context
    if question.subject is not None:
        ask["task"] = question.subject
    if model is not None:
        ask["model"] = model
    return ask
