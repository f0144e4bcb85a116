"""The thread that owns the model: loads it, warms it up, and answers batch after batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from model_store.questions import Question
from service.engine.admission import ServiceRate
from service.engine.failures import BudgetTooSmallError, ForwardFailedError
from service.engine.predictor import Answer, Predictor, Served, UnusableAnswerError, check_answer
from service.engine.waiting import Ticket, WaitingTickets
from service.telemetry.metrics import Metrics

WARM_UP = Question("warm-up", "Which of these is a colour?", ("Green", "Seven"))

logger = logging.getLogger(__name__)


class Worker:
    """Runs in one thread; the only caller of `Predictor.answer`."""

    def __init__(self, waiting: WaitingTickets, budget: int, rate: ServiceRate, metrics: Metrics) -> None:
        self._waiting = waiting
        self._budget = budget
        self._rate = rate
        self._metrics = metrics
        self.failures_in_a_row = 0

    def run(self, load: Callable[[], Predictor[Any]], on_loaded: Callable[[Predictor[Any] | Exception], None]) -> None:
        """Load, report the predictor or why there is none, then answer until the queue is closed and empty."""
        try:
            predictor = self._load(load)
        except Exception as error:
            on_loaded(error)
            return
        on_loaded(predictor)
        while batch := self._waiting.take(self._budget):
            self._answer(predictor, batch)

    def _load(self, load: Callable[[], Predictor[Any]]) -> Predictor[Any]:
        predictor = load()
        if predictor.token_limit > self._budget:
            raise BudgetTooSmallError(
                f"MAX_BATCH_TOKENS {self._budget} is below the {predictor.token_limit} tokens that a question of "
                f"{predictor.manifest.reference} may have"
            )
        self._warm_up(predictor)
        return predictor

    def _warm_up(self, predictor: Predictor[Any]) -> None:
        """Two forwards: the first pays for lazy set-up, the second measures the rate."""
        encoded = predictor.encode(WARM_UP)
        predictor.answer([encoded])
        started = time.monotonic()
        (answer,) = predictor.answer([encoded])
        self._rate.observe(1, time.monotonic() - started)
        check_answer(answer, len(WARM_UP.options))

    def _answer(self, predictor: Predictor[Any], batch: list[Ticket]) -> None:
        started = time.monotonic()
        for ticket in batch:
            self._metrics.queue_seconds.observe(started - ticket.since)
        self._metrics.observe_batch([ticket.encoded.length for ticket in batch])
        try:
            answers = _forward(predictor, batch)
        except Exception as error:
            self._fail(batch, error)
            return
        seconds = time.monotonic() - started
        self._rate.observe(len(batch), seconds)
        self._metrics.forward_seconds.observe(seconds)
        served = [_resolve(ticket, answer, predictor) for ticket, answer in zip(batch, answers, strict=True)]
        self.failures_in_a_row = 0 if any(served) else self.failures_in_a_row + 1

    def _fail(self, batch: list[Ticket], error: Exception) -> None:
        # The message of the error may quote the question, so only its type is written down.
        self.failures_in_a_row += 1
        logger.error("forward failed", extra={"error": type(error).__name__, "questions": len(batch)})
        for ticket in batch:
            ticket.future.set_exception(ForwardFailedError(f"a batch of {len(batch)} questions failed"))


def _forward(predictor: Predictor[Any], batch: list[Ticket]) -> Sequence[Answer]:
    answers = predictor.answer([ticket.encoded for ticket in batch])
    if len(answers) != len(batch):
        raise UnusableAnswerError(f"{len(answers)} answers to {len(batch)} questions")
    return answers


def _resolve(ticket: Ticket, answer: Answer, predictor: Predictor[Any]) -> bool:
    """Hand the answer over; false where it must not be served."""
    try:
        check_answer(answer, ticket.options)
    except UnusableAnswerError as error:
        logger.error("answer refused", extra={"error": str(error)})
        ticket.future.set_exception(ForwardFailedError("the answer is not a probability distribution"))
        return False
    ticket.future.set_result(Served(answer, predictor.manifest))
    return True
