"""The thread that owns the model: puts adapters on it, warms them up, and answers batches."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from uq4ct.model_store.questions import Question
from uq4ct.model_store.threads import ThreadChoice
from uq4ct.service.engine.admission import ServiceRate
from uq4ct.service.engine.batching import TokenBudget
from uq4ct.service.engine.failures import BudgetTooSmallError, ForwardFailedError, WorkerDiedError
from uq4ct.service.engine.forwards import by_adapter, halves, run_forward
from uq4ct.service.engine.memory_errors import out_of_memory_reason
from uq4ct.service.engine.predictor import Encoded, Host, Predictor, Served, check_answer
from uq4ct.service.engine.suspects import Suspect, Suspects
from uq4ct.service.engine.waiting import Job, Ticket, WaitingWork
from uq4ct.service.telemetry.metrics import Metrics

WARM_UP = Question("warm-up", "Which of these is a colour?", ("Green", "Seven"))
_QUESTIONS_TO_MEASURE = 16
_FAILURES_UNTIL_FAILING = 3
LONGEST_END = 10.0  # seconds that the current forward or load may take at the end
_CRASHES_UNTIL_THE_END = 3  # in a row, without an answer in between

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Worker:
    """One thread, the only one that touches the model. `start`, `call` and `join` are for the event loop's thread."""

    def __init__(
        self,
        waiting: WaitingWork,
        budget: int,
        queue_tokens: int,
        rate: ServiceRate,
        metrics: Metrics,
        threads: ThreadChoice | None,
    ) -> None:
        self._waiting = waiting
        self._budget = TokenBudget(budget)
        self._queue_tokens = queue_tokens
        self._rate = rate
        self._metrics = metrics
        self._threads = threads
        self._thread = threading.Thread(target=self._run, name="model-worker", daemon=True)  # `join` waits for it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._crashes = 0
        self._failures_in_a_row = 0
        self.suspects = Suspects()
        self.died = asyncio.Event()

    @property
    def is_failing(self) -> bool:
        """Whether the worker runs, but its last forwards all failed or a question that should fit in memory did not."""
        failing = self._failures_in_a_row >= _FAILURES_UNTIL_FAILING or len(self.suspects) > 0
        return failing and not self.died.is_set()

    def start(self) -> None:
        """Start the thread; outcomes are delivered in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def call(self, run: Callable[[], T]) -> T:
        """Run a function in the worker's thread, between two forwards; raises what it raises.

        Raises:
            WorkerDiedError: the thread has ended.
        """
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.put_job(Job(run, result))
        return await result

    async def join(self) -> None:
        """Return when the thread has ended, or hangs; it ends when the queue is closed and empty."""
        if self._loop is not None:
            await asyncio.to_thread(self._thread.join, LONGEST_END)
            if self._thread.is_alive():
                logger.error("the model's thread hangs and is left behind")

    def put_on(self, host: Host, prepared: Any) -> Predictor[Any]:
        """Put a prepared adapter on the base model; for `call`.

        Raises:
            BudgetTooSmallError: the adapter allows questions that could never be admitted.
            Exception: whatever the host raised; the adapter is not on the base model.
        """
        predictor = host.attach(prepared)
        with _removing_on_error(host, predictor):
            self._check_limits(predictor)
        return predictor

    def warm_up(self, host: Host, predictor: Predictor[Any]) -> None:
        """Answer a question with a new adapter, which triggers lazy set-up, and check the answer; for `call`.

        Raises:
            Exception: whatever the forward raised; the adapter is removed from the base model.
        """
        with _removing_on_error(host, predictor):
            encoded = predictor.encode(WARM_UP)
            (answer,) = predictor.answer([encoded])
            check_answer(answer, len(WARM_UP.options))
            self.suspects.note_answered(encoded.length * predictor.passes)
            if not self._rate.known:  # at the start, when no question waits
                self._measure(predictor, encoded)

    def probe(self, predictor: Predictor[Any]) -> None:
        """Check whether an adapter answers when no questions arrive that would show it; for `call`.

        Raises:
            Exception: whatever the forward raised.
        """
        self._ask(predictor, predictor.encode(WARM_UP), len(WARM_UP.options))

    def retry(self, suspect: Suspect) -> None:
        """Answer a question again that ran out of memory; for `call`.

        Raises:
            Exception: whatever the forward raised.
        """
        self._ask(suspect.adapter.predictor, suspect.encoded, suspect.options)
        self.suspects.clear(suspect.adapter, suspect.encoded.length)

    def give_up(self) -> None:
        """Fail what waits, take nothing more and set `died`, because only a new process can recover."""
        self._waiting.abandon()
        self._fail(*self._waiting.take_all())
        self.died.set()

    def _ask(self, predictor: Predictor[Any], encoded: Encoded, options: int) -> None:
        (answer,) = predictor.answer([encoded])
        check_answer(answer, options)
        self._failures_in_a_row = 0

    def _check_limits(self, predictor: Predictor[Any]) -> None:
        """Raise if the adapter allows questions too long for the budgets; all passes must fit in the queue only."""
        reference, tokens, passes = predictor.manifest.reference, predictor.token_limit, predictor.passes
        if tokens > self._budget.configured:
            raise BudgetTooSmallError(
                f"UQ4CT_MAX_BATCH_TOKENS must be at least {tokens} for the questions of {reference} "
                f"(got {self._budget.configured})"
            )
        if tokens * passes > self._queue_tokens:
            raise BudgetTooSmallError(
                f"UQ4CT_MAX_QUEUE_TOKENS must be at least {tokens * passes} for the questions of {reference}, "
                f"{tokens} tokens in each of {passes} passes (got {self._queue_tokens})"
            )

    def _measure(self, predictor: Predictor[Any], encoded: Encoded) -> None:
        """Measure a forward of one question and one of several; running out of memory is not a failure."""
        tokens = encoded.length * predictor.passes
        started = time.monotonic()
        predictor.answer([encoded])
        self._rate.observe(1, tokens, time.monotonic() - started)
        questions = max(1, min(_QUESTIONS_TO_MEASURE, self._budget.configured // tokens))
        started = time.monotonic()
        try:
            predictor.answer([encoded] * questions)
        except Exception as error:
            if out_of_memory_reason(error) is None:
                raise
            self._budget.lower(questions * tokens)
        else:
            self._rate.observe(questions, questions * tokens, time.monotonic() - started)
            self.suspects.note_answered(questions * tokens)

    def _run(self) -> None:
        """Work until the queue is closed and empty; an unforeseen error fails the current work, not the thread."""
        ended = False
        try:
            while not ended and self._crashes < _CRASHES_UNTIL_THE_END:
                ended = self._work()
        finally:
            if not ended:
                self._waiting.abandon()
                self._in_loop(self.died.set)
                self._fail(*self._waiting.take_all())

    def _work(self) -> bool:
        """Work until the queue is closed and empty; return false after an unforeseen error."""
        in_hand: list[Ticket] | Job | None = None
        try:
            while (in_hand := self._take()) is not None:
                if isinstance(in_hand, Job):
                    self._do(in_hand)
                else:
                    self._answer(in_hand)
                in_hand = None
        except BaseException as error:  # broken libraries raise more than Exception
            self._crashes += 1
            self._failures_in_a_row += 1
            logger.critical("worker failed", extra={"error": type(error).__name__, "crashes": self._crashes})
            if in_hand is None:  # taking work failed, and would fail again with the same queue
                self._fail(*self._waiting.take_all())
            elif isinstance(in_hand, Job):
                self._fail([], [in_hand])
            else:
                self._fail(in_hand, [])
            return False
        return True

    def _take(self) -> list[Ticket] | Job | None:
        return self._waiting.take(self._budget.tokens)

    def _fail(self, tickets: list[Ticket], jobs: list[Job]) -> None:
        self._hand_over(tickets, [ForwardFailedError("the worker failed")] * len(tickets))
        for job in jobs:
            self._in_loop(_end_job, job, WorkerDiedError("the worker failed"))

    def _do(self, job: Job) -> None:
        try:
            outcome = job.run()
        except Exception as error:
            outcome = error
        self._in_loop(_end_job, job, outcome)

    def _answer(self, batch: list[Ticket]) -> None:
        started = time.monotonic()
        tokens = sum(ticket.tokens for ticket in batch)
        for ticket in batch:
            self._metrics.queue_seconds.observe(started - ticket.since)
        self._metrics.observe_batch(len(batch), tokens)
        if self._threads is not None:
            self._threads.adapt()
            self._metrics.model_threads.set(self._threads.threads)
        outcomes = self._outcomes(batch)
        seconds = time.monotonic() - started
        if any(isinstance(outcome, Served) for outcome in outcomes):
            self._failures_in_a_row = self._crashes = 0
            self._rate.observe(len(batch), tokens, seconds)
            self._metrics.forward_seconds.observe(seconds)
        else:
            self._failures_in_a_row += 1
        self._hand_over(batch, outcomes)

    def _outcomes(self, batch: list[Ticket]) -> list[Served | Exception]:
        """Return the outcomes of a batch.

        One that does not fit in memory is retried in halves, one that fails otherwise by adapter.
        """
        tokens = sum(ticket.tokens for ticket in batch)
        try:
            outcomes = run_forward(batch)
        except Exception as error:
            reason = out_of_memory_reason(error)
            # The message of the error may quote the question, so only its recognised part is logged, and its place.
            extra = {"error": type(error).__name__, "reason": reason, "place": _place_of(error)}
            logger.error("forward failed", extra={**extra, "questions": len(batch), "tokens": tokens})
            parts = halves(batch) if reason is not None else [list(own) for _, own in by_adapter(batch)]
            if len(parts) == 1:
                if reason is not None:
                    self.suspects.note_failed(_suspect(batch[0]), tokens)
                return [ForwardFailedError(f"a batch of {len(batch)} questions failed")] * len(batch)
        else:
            self._budget.raise_again()
            self.suspects.note_answered(tokens)
            if len(batch) == 1:
                self.suspects.clear(batch[0].adapter, batch[0].encoded.length)
            return outcomes
        if reason is not None:
            self._budget.lower(tokens)
        # Retry outside of the handler, which keeps the error and the tensors in its frames alive.
        return [outcome for part in parts for outcome in self._outcomes(part)]

    def _hand_over(self, tickets: Sequence[Ticket], outcomes: Sequence[Served | Exception]) -> None:
        self._in_loop(_settle, tickets, outcomes)

    def _in_loop(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._loop is None:
            raise RuntimeError("the worker was not started")
        self._loop.call_soon_threadsafe(call, *arguments)


@contextmanager
def _removing_on_error(host: Host, predictor: Predictor[Any]) -> Iterator[None]:
    try:
        yield
    except Exception:
        host.remove(predictor)
        raise


def _suspect(ticket: Ticket) -> Suspect:
    return Suspect(ticket.adapter, ticket.encoded, ticket.options)


def _place_of(error: BaseException) -> str | None:
    """Return the function, file and line that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].name} ({frames[-1].filename}:{frames[-1].lineno})" if frames else None


def _settle(tickets: Sequence[Ticket], outcomes: Sequence[Served | Exception]) -> None:
    for ticket, outcome in zip(tickets, outcomes, strict=True):
        ticket.outcomes.settle(ticket.index, outcome)


def _end_job(job: Job, outcome: object) -> None:
    if job.result.done():  # its caller has stopped waiting
        return
    if isinstance(outcome, Exception):
        job.result.set_exception(outcome)
    else:
        job.result.set_result(outcome)
