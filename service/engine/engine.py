"""The engine behind the routes: `submit(asks) -> answers`, and the life of the replica around it."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.admission import Admission, Reservation, ServiceRate
from uq4ct.service.engine.changes import Changes
from uq4ct.service.engine.failures import (
    DeadlinePassedError,
    DrainingError,
    NotReadyError,
    QueueFullError,
    RequestTooLargeError,
    WorkerDiedError,
)
from uq4ct.service.engine.loaded import LoadedAdapter, LoadedAdapters
from uq4ct.service.engine.orders import Order
from uq4ct.service.engine.predictor import Ask, Encoded, Host, Served
from uq4ct.service.engine.swaps import Swaps
from uq4ct.service.engine.waiting import Ticket, WaitingWork
from uq4ct.service.engine.worker import Worker
from uq4ct.service.telemetry.metrics import Metrics

_TOKENIZER_THREADS = 2  # a tokenizer lets go of the interpreter lock; more would only take cores from the forward
CHARACTERS_IN_THE_LOOP = 2000  # of questions; checked or tokenised faster than another thread gets its turn
_FAILURES_UNTIL_UNREADY = 3
_BETWEEN_PROBES = 5.0  # seconds, while forwards fail

logger = logging.getLogger(__name__)


class State(enum.Enum):
    """Where the replica is in its life."""

    LOADING = "loading"
    READY = "ready"
    FAILING = "failing"  # the last forwards all failed; questions are still tried, and one success is enough
    DEAD = "dead"  # the worker has ended, and nothing is tried any more
    UNLOADABLE = "unloadable"
    LEAVING = "leaving"  # takes questions, but asks the balancer for no more
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of an engine."""

    questions: int  # admitted and not yet answered
    tokens: int  # of the admitted questions, once for each pass
    batch_tokens: int  # of one forward, once for each pass; of one question, its own
    adapter_bytes: int  # of all loaded adapters
    seconds: float  # from admission to answer


@dataclass(frozen=True, slots=True)
class _Placed:
    """A question, its place in the request, and the adapter that will answer it."""

    index: int
    question: Question
    adapter: LoadedAdapter


class Engine:
    """Admission, tokenising, batching, the worker and its adapters. All methods belong to the event loop's thread."""

    def __init__(
        self, load: Callable[[], Host], default: str, store: Registry, limits: Limits, metrics: Metrics
    ) -> None:
        rate = ServiceRate()
        self._load = load
        self._default = default
        self._limits = limits
        self._metrics = metrics
        metrics.show_bounds(limits.questions, limits.tokens)
        self._admission = Admission(limits.questions, limits.tokens, rate)
        self._changes = Changes()
        self._loaded = LoadedAdapters(default)
        self._waiting = WaitingWork(metrics)
        self._worker = Worker(self._waiting, limits.batch_tokens, limits.tokens, rate, metrics)
        self._tokenizers = ThreadPoolExecutor(_TOKENIZER_THREADS, thread_name_prefix="tokenizer")
        self._tasks: list[asyncio.Task[None]] = []
        self._load_error: Exception | None = None
        self._load_ended = asyncio.Event()
        self._leaving = False
        self._refusing = False
        self.swaps = Swaps(
            store,
            self._loaded,
            self._worker,
            metrics,
            memory_limit=limits.adapter_bytes,
            patience=limits.seconds,
        )

    @property
    def state(self) -> State:
        """The present state; only READY makes the replica ready."""
        if self._refusing:
            return State.DRAINING
        return State.LEAVING if self._leaving else self._condition()

    @property
    def default_manifest(self) -> Manifest:
        """The manifest of the adapter that answers requests without a model.

        Raises:
            NotReadyError: none is loaded yet.
        """
        adapter = self._loaded.default
        if adapter is None:
            raise NotReadyError(self._condition().value)
        return adapter.manifest

    def is_loaded(self, reference: str) -> bool:
        """Whether questions to this name, name@version or name@alias are answered without loading anything."""
        return self._loaded.find(reference) is not None

    def is_default(self, reference: str) -> bool:
        """Whether this name, name@version or name@alias means what answers requests without a model."""
        default = self._loaded.default
        return default is not None and self._loaded.find(reference) is default

    def check_room(self, questions: int) -> None:
        """Refuse at once what `submit` would refuse now; takes nothing.

        Raises:
            DrainingError, NotReadyError: no question is taken now.
            QueueFullError: there is no room for all of them.
        """
        if self._refusing:
            raise DrainingError("shutting down")
        state = self._condition()
        if state in (State.LOADING, State.UNLOADABLE, State.DEAD):
            raise NotReadyError(state.value)
        self._admission.check_room(questions)

    def start(self, alias_poll_seconds: float = 0.0) -> None:
        """Start the worker, load, and then follow the store's aliases every so many seconds (0 = never)."""
        self._worker.start()
        self._tasks.append(asyncio.create_task(self._open()))
        self._tasks.append(asyncio.create_task(self._probe_while_failing()))
        if alias_poll_seconds:
            self._tasks.append(asyncio.create_task(self.swaps.follow_store(alias_poll_seconds)))

    async def loaded(self) -> None:
        """Return as soon as the model is warm.

        Raises:
            Exception: whatever loading raised.
        """
        await self._load_ended.wait()
        if self._load_error is not None:
            raise self._load_error

    async def died(self) -> None:
        """Return when the worker has ended although it should not have: only a new process can answer then."""
        await self._worker.died.wait()

    async def submit(self, asks: Sequence[Ask]) -> list[Served | Exception]:
        """Answer each question or say why not, in order; cancelling takes the unanswered ones out of the queue.

        Raises:
            DrainingError, NotReadyError: no question is taken now.
            QueueFullError, RequestTooLargeError: there is no room for all of them, so none was taken.
        """
        self.check_room(len(asks))
        order = Order(len(asks))
        with self._admission.reserve(len(asks)) as reservation:
            deadline = time.monotonic() + self._limits.seconds
            try:
                async with asyncio.timeout(self._limits.seconds):
                    await self._answer(order, asks, reservation, deadline)
            except TimeoutError:
                pass  # what is answered is answered
            except WorkerDiedError as error:  # since the look at the top
                raise NotReadyError(State.DEAD.value) from error
        return order.outcomes(DeadlinePassedError(f"not answered in {self._limits.seconds:g} seconds"))

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Swaps]:
        """Admit a change of what is loaded, made inside by what this yields; a replica that leaves waits for it.

        Raises:
            DrainingError, NotReadyError: no change is taken now, or the replica leaves and waits no longer.
        """
        self.check_room(0)
        async with self._changes.under_way():
            yield self.swaps

    def leave(self) -> None:
        """Say not ready from now on, and still take questions."""
        self._leaving = True

    async def drain(self) -> None:
        """Take nothing new and return when everything admitted is answered, within the time that a question has."""
        self._refusing = True
        await asyncio.gather(self._admission.wait_until_idle(), self._changes.finish(self._limits.seconds))

    async def close(self) -> None:
        """Drain, then end the worker; waits for what it is doing."""
        await self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.swaps.close()
        self._waiting.close()
        await self._worker.join()
        self._tokenizers.shutdown()

    def _condition(self) -> State:
        """The state of the model, whether or not the replica is on its way out."""
        if self._worker.died.is_set():
            return State.DEAD
        if not self._load_ended.is_set():
            return State.LOADING
        if self._load_error is not None:
            return State.UNLOADABLE
        return State.FAILING if self._worker.failures_in_a_row >= _FAILURES_UNTIL_UNREADY else State.READY

    async def _open(self) -> None:
        try:
            await self.swaps.open(self._load, self._default)
        except Exception as error:
            logger.error("no model", extra={"error": type(error).__name__, "reason": str(error)})
            self._load_error = error
        else:
            logger.info("model ready", extra={"model": self._default})
        self._load_ended.set()

    async def _probe_while_failing(self) -> None:
        """A balancer sends nothing to a replica that is not ready: without questions it could not become so again."""
        while True:
            await asyncio.sleep(_BETWEEN_PROBES)
            if self._condition() is State.FAILING:
                await self._probe()

    async def _probe(self) -> None:
        adapter = self._loaded.default
        if adapter is None:
            return
        try:
            with self._loaded.holding([adapter]):
                await self._worker.call(partial(self._worker.probe, adapter.predictor))
        except Exception as error:  # whatever it is, the next one may do better
            logger.warning("still failing", extra={"error": type(error).__name__})
        else:
            logger.info("answers again")

    async def _answer(self, order: Order, asks: Sequence[Ask], reservation: Reservation, deadline: float) -> None:
        """Settle every question: first together those whose adapter is loaded, then those that must wait for a load.

        Two adapters that are not loaded are taken one after the other, since there may not be room for both.
        """
        absent: dict[str, list[int]] = {}
        placed: list[_Placed] = []
        for index, ask in enumerate(asks):
            adapter = self._loaded.find(ask.reference)
            if adapter is not None:
                placed.append(_Placed(index, ask.question, adapter))
            else:
                absent.setdefault(ask.reference or self._default, []).append(index)
        if placed:
            await self._run(order, placed, reservation, deadline)
        for reference, indices in absent.items():
            try:
                adapter = await self.swaps.obtain(reference)
                late = [_Placed(index, asks[index].question, adapter) for index in indices]
                await self._run(order, late, reservation, deadline)
            except (QueueFullError, RequestTooLargeError) as error:
                if len(indices) == len(asks):
                    raise
                _settle_all(order, indices, error)
            except Exception as error:  # of these questions alone: the others of the request keep their answers
                _settle_all(order, indices, error)

    async def _run(self, order: Order, placed: Sequence[_Placed], reservation: Reservation, deadline: float) -> None:
        """Tokenise, queue and wait for questions whose adapters are loaded, and stay so until they are answered."""
        with self._loaded.holding([item.adapter for item in placed]):
            encodings = await self._encode(placed)
            since = time.monotonic()
            tickets: list[Ticket] = []
            for item, encoded in zip(placed, encodings, strict=True):
                if isinstance(encoded, Exception):
                    order.settle(item.index, encoded)
                    continue
                tokens, options = encoded.length * item.adapter.predictor.passes, len(item.question.options)
                tickets.append(Ticket(order, item.index, item.adapter, encoded, tokens, options, since, deadline))
            reservation.add_tokens(sum(ticket.tokens for ticket in tickets))
            self._waiting.put(tickets)
            try:
                await order.wait_for(len(tickets))
            finally:
                self._waiting.discard(tickets)

    async def _encode(self, placed: Sequence[_Placed]) -> list[Encoded | Exception]:
        """Tokenise, in a thread where it takes long enough to hold up the others."""
        characters = sum(item.question.characters for item in placed)
        if characters <= CHARACTERS_IN_THE_LOOP:
            return [self._encode_one(item) for item in placed]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizers, lambda: [self._encode_one(item) for item in placed])

    def _encode_one(self, item: _Placed) -> Encoded | Exception:
        budget = self._limits.batch_tokens
        try:
            with self._metrics.tokenize_seconds.time():
                encoded = item.adapter.predictor.encode(item.question)
        except Exception as error:  # of this question alone
            return error
        return encoded if encoded.length <= budget else QuestionTooLongError(encoded.length, budget)


def _settle_all(order: Order, indices: Sequence[int], error: Exception) -> None:
    for index in indices:
        order.settle(index, error)
