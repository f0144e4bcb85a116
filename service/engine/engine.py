"""The engine behind the routes: `submit(questions) -> answers`, and the life of the replica around it."""

from __future__ import annotations

import asyncio
import enum
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from model_store.questions import Question
from service.engine.admission import Admission, ServiceRate
from service.engine.failures import DrainingError, NotReadyError
from service.engine.predictor import Predictor, Served
from service.engine.waiting import Ticket, WaitingTickets
from service.engine.worker import Worker
from service.telemetry.metrics import Metrics

_TOKENIZER_THREADS = 2  # a tokenizer lets go of the interpreter lock; more would only take cores from the forward
_FAILURES_UNTIL_UNREADY = 3

logger = logging.getLogger(__name__)


class State(enum.Enum):
    """Where the replica is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILING = "failing"  # the last forwards all failed; questions are still tried, and one success is enough
    UNLOADABLE = "unloadable"
    LEAVING = "leaving"  # takes questions, but asks the balancer for no more
    DRAINING = "draining"


class Engine:
    """Admission, tokenising, batching and the worker. All methods belong to the event loop's thread."""

    def __init__(
        self, load: Callable[[], Predictor[Any]], max_concurrent_requests: int, max_batch_tokens: int, metrics: Metrics
    ) -> None:
        rate = ServiceRate()
        self._load = load
        self._metrics = metrics
        self._admission = Admission(max_concurrent_requests, rate)
        self._waiting = WaitingTickets(metrics)
        self._worker = Worker(self._waiting, max_batch_tokens, rate, metrics)
        self._tokenizers = ThreadPoolExecutor(_TOKENIZER_THREADS, thread_name_prefix="tokenizer")
        self._thread: threading.Thread | None = None
        self._predictor: Predictor[Any] | None = None
        self._load_error: Exception | None = None
        self._load_ended = asyncio.Event()
        self._leaving = False
        self._refusing = False

    @property
    def state(self) -> State:
        """The present state; only READY makes the replica ready."""
        if self._refusing:
            return State.DRAINING
        if self._leaving:
            return State.LEAVING
        if self._predictor is None:
            return State.LOADING if self._load_error is None else State.UNLOADABLE
        return State.FAILING if self._worker.failures_in_a_row >= _FAILURES_UNTIL_UNREADY else State.READY

    def require_predictor(self) -> Predictor[Any]:
        """The loaded predictor, where questions are taken.

        Raises:
            DrainingError: nothing new is taken any more.
            NotReadyError: there is none yet, or loading it failed.
        """
        if self._refusing:
            raise DrainingError("shutting down")
        if self._predictor is None:
            raise NotReadyError(self.state.value)
        return self._predictor

    def start(self) -> None:
        """Start the worker, which begins by loading."""
        loop = asyncio.get_running_loop()

        def report(outcome: Predictor[Any] | Exception) -> None:
            loop.call_soon_threadsafe(self._end_load, outcome)

        work = partial(self._worker.run, self._load, report)
        self._thread = threading.Thread(target=work, name="model-worker")
        self._thread.start()

    async def loaded(self) -> None:
        """Return as soon as the model is warm.

        Raises:
            Exception: whatever loading raised.
        """
        await self._load_ended.wait()
        if self._load_error is not None:
            raise self._load_error

    async def submit(self, questions: Sequence[Question]) -> list[Served | Exception]:
        """Answer each question or say why not, in order; cancelling takes the unanswered ones out of the queue.

        Raises:
            DrainingError, NotReadyError: no question is taken now.
            QueueFullError: there is no room for all of them, so none was taken.
        """
        predictor = self.require_predictor()
        with self._admission.reserve(len(questions)):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._answer_or_explain(predictor, question)) for question in questions]
        return [task.result() for task in tasks]

    def leave(self) -> None:
        """Say not ready from now on, and still take questions."""
        self._leaving = True

    async def drain(self) -> None:
        """Take nothing new and return when everything admitted is answered."""
        self._refusing = True
        await self._admission.wait_until_idle()

    async def close(self) -> None:
        """Drain, then end the worker; waits for a load that is under way."""
        await self.drain()
        self._waiting.close()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        self._tokenizers.shutdown()

    def _end_load(self, outcome: Predictor[Any] | Exception) -> None:
        if isinstance(outcome, Exception):
            logger.error("no model", extra={"error": type(outcome).__name__, "reason": str(outcome)})
            self._load_error = outcome
        else:
            logger.info("model ready", extra={"model": outcome.manifest.reference})
            self._predictor = outcome
            self._metrics.announce_model(outcome.manifest)
        self._load_ended.set()

    async def _answer_or_explain(self, predictor: Predictor[Any], question: Question) -> Served | Exception:
        try:
            return await self._answer(predictor, question)
        except Exception as error:  # of this question alone: its neighbours in the request keep their answers
            return error

    async def _answer(self, predictor: Predictor[Any], question: Question) -> Served:
        loop = asyncio.get_running_loop()
        with self._metrics.tokenize_seconds.time():
            encoded = await loop.run_in_executor(self._tokenizers, predictor.encode, question)
        ticket = Ticket(encoded, len(question.options), time.monotonic())
        self._waiting.put(ticket)
        return await asyncio.wrap_future(ticket.future)
