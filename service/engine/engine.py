"""The engine behind the routes: runs a replica from loading to shutdown, and takes questions and changes."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.threads import ThreadChoice
from uq4ct.service.engine.admission import Admission, ServiceRate
from uq4ct.service.engine.changes import Changes
from uq4ct.service.engine.failures import DrainingError, NotReadyError, WorkerDiedError
from uq4ct.service.engine.limits import Limits
from uq4ct.service.engine.loaded import LoadedAdapters
from uq4ct.service.engine.predictor import Ask, Host, Served
from uq4ct.service.engine.probing import probe_while_failing
from uq4ct.service.engine.requests import RequestRunner
from uq4ct.service.engine.swaps import Swaps
from uq4ct.service.engine.waiting import WaitingWork
from uq4ct.service.engine.worker import Worker
from uq4ct.service.telemetry.metrics import Metrics

_BETWEEN_PROBES = 5.0  # seconds, while forwards fail
_PATIENCE = 60.0  # seconds that forwards may fail before the process ends to be restarted

logger = logging.getLogger(__name__)


class State(enum.Enum):
    """The state of a replica."""

    LOADING = "loading"
    READY = "ready"
    FAILING = "failing"  # forwards fail; questions are still tried, and it is READY again as soon as they are answered
    DEAD = "dead"  # the worker has ended; questions are rejected
    UNLOADABLE = "unloadable"
    LEAVING = "leaving"  # still takes questions, but reports not ready to the load balancer
    DRAINING = "draining"


class Engine:
    """One replica's model, from loading to draining. All methods are for the event loop's thread."""

    def __init__(
        self,
        load: Callable[[], Host],
        default: str,
        store: Registry,
        limits: Limits,
        metrics: Metrics,
        threads: ThreadChoice | None = None,
    ) -> None:
        rate = ServiceRate()
        metrics.show_bounds(limits.questions, limits.tokens)
        self._load = load
        self._default = default
        self._limits = limits
        self._admission = Admission(limits.questions, limits.tokens, rate)
        self._waiting = WaitingWork(metrics)
        self._worker = Worker(self._waiting, limits.batch_tokens, limits.tokens, rate, metrics, threads)
        self.metrics = metrics
        self.changes = Changes()
        self.loaded = LoadedAdapters(default)
        self.swaps = Swaps(
            store, self.loaded, self._worker, metrics, memory_limit=limits.adapter_bytes, patience=limits.seconds
        )
        self._requests = RequestRunner(limits, self._admission, self.loaded, self.swaps, self._waiting, metrics)
        self._tasks: list[asyncio.Task[None]] = []
        self._load_error: Exception | None = None
        self._load_ended = asyncio.Event()
        self._leaving = False
        self._refusing = False

    @property
    def state(self) -> State:
        """The current state; the replica is ready only in READY."""
        if self._refusing:
            return State.DRAINING
        return State.LEAVING if self._leaving else self._condition()

    @property
    def default_manifest(self) -> Manifest:
        """The manifest of the adapter that answers requests without a model.

        Raises:
            NotReadyError: none is loaded yet.
        """
        adapter = self.loaded.default
        if adapter is None:
            raise NotReadyError(self._condition().value)
        return adapter.manifest

    @property
    def queue(self) -> tuple[int, int]:
        """How many questions are admitted and not answered yet, and the limit on them."""
        return self._admission.questions, self._limits.questions

    def is_loaded(self, reference: str) -> bool:
        """Return whether the adapter of this name, name@version or name@alias is in memory."""
        return self.loaded.find(reference) is not None

    def is_default(self, reference: str) -> bool:
        """Return whether this name, name@version or name@alias points to the default adapter."""
        default = self.loaded.default
        return default is not None and self.loaded.find(reference) is default

    def check_room(self, questions: int) -> None:
        """Raise if `submit` would raise now; reserves nothing.

        Raises:
            DrainingError, NotReadyError: the replica takes no questions now.
            QueueFullError: the queue has no room for all of them.
        """
        if self._refusing:
            raise DrainingError("the replica is shutting down")
        state = self._condition()
        if state in (State.LOADING, State.UNLOADABLE, State.DEAD):
            raise NotReadyError(state.value)
        self._admission.check_room(questions)

    def start(
        self, alias_poll_seconds: float = 0.0, probe_seconds: float = _BETWEEN_PROBES, patience: float = _PATIENCE
    ) -> None:
        """Start the worker and load the model.

        Args:
            alias_poll_seconds: how often the store is checked for alias changes; 0 = never.
            probe_seconds: how often the model is probed while forwards fail.
            patience: seconds of failures after which the worker ends, so that the process can be restarted.
        """
        self._worker.start()
        self._tasks.append(asyncio.create_task(self._open()))
        probing = probe_while_failing(self._worker, self.loaded, probe_seconds, patience)
        self._tasks.append(asyncio.create_task(probing))
        if alias_poll_seconds:
            self._tasks.append(asyncio.create_task(self.swaps.follow_store(alias_poll_seconds)))

    async def wait_until_loaded(self) -> None:
        """Return as soon as the model is warm.

        Raises:
            Exception: whatever loading raised.
        """
        await self._load_ended.wait()
        if self._load_error is not None:
            raise self._load_error

    async def wait_until_dead(self) -> None:
        """Return when the worker has ended unexpectedly; only a new process can answer then."""
        await self._worker.died.wait()

    async def submit(self, asks: Sequence[Ask]) -> list[Served | Exception]:
        """Return an answer or an error per question, in order; cancelling removes unanswered ones from the queue.

        Raises:
            DrainingError, NotReadyError: the replica takes no questions now.
            QueueFullError, RequestTooLargeError: there is no room for all of them, so none was admitted.
        """
        self.check_room(len(asks))
        try:
            return await self._requests.run(asks)
        except WorkerDiedError as error:  # since the check above
            raise NotReadyError(State.DEAD.value) from error

    @asynccontextmanager
    async def change(self) -> AsyncIterator[Swaps]:
        """Yield the `Swaps` to load, unload or promote with; a replica that shuts down waits for the block to end.

        Raises:
            DrainingError, NotReadyError: the replica takes no changes now, or shuts down and stops waiting.
        """
        self.check_room(0)
        async with self.changes.under_way():
            yield self.swaps

    def leave(self) -> None:
        """Report not ready from now on, but still take questions."""
        self._leaving = True

    async def drain(self) -> None:
        """Reject new work; return when all admitted questions are answered and all changes are done or timed out."""
        self._refusing = True
        await asyncio.gather(self._admission.wait_until_idle(), self.changes.finish(self._limits.seconds))

    async def close(self) -> None:
        """Drain, then end the worker after its current work."""
        await self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.swaps.close()
        self._waiting.close()
        await self._worker.join()
        self._requests.close()

    def _condition(self) -> State:
        """Return the state of the model, ignoring a shutdown in progress."""
        if self._worker.died.is_set():
            return State.DEAD
        if not self._load_ended.is_set():
            return State.LOADING
        if self._load_error is not None:
            return State.UNLOADABLE
        return State.FAILING if self._worker.is_failing else State.READY

    async def _open(self) -> None:
        try:
            await self.swaps.open(self._load, self._default)
        except Exception as error:
            self._load_error = error  # raised to whoever waits for the model
        else:
            logger.info("model ready", extra={"model": self._default})
        self._load_ended.set()
