"""Load -> warm -> swap -> free: which adapters are in memory, and which one each name points to here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from uq4ct.model_store.heap import return_free_memory
from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.errors import InvalidReferenceError, StoreError, UnknownAdapterError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.attempts import Attempts
from uq4ct.service.engine.failures import (
    DefaultModelError,
    LoadFailedError,
    NoRoomError,
    StoreReadOnlyError,
    StoreUnavailableError,
    UnknownModelError,
)
from uq4ct.service.engine.loaded import LoadedAdapter, LoadedAdapters, full_reference
from uq4ct.service.engine.predictor import Host, Predictor
from uq4ct.service.engine.reloads import ReloadSchedule
from uq4ct.service.engine.worker import Worker
from uq4ct.service.outside import NoAnswerError, OutsideCalls
from uq4ct.service.telemetry.metrics import Metrics

_READERS = 4  # a long read must not block another
LONGEST_READ = 10.0  # seconds, of records
LONGEST_WEIGHTS_READ = 600.0  # seconds, of a version with its weights
_LONGEST_CLOSE = 1.0  # seconds that reads may still take at the end

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Swaps:
    """Loads, unloads and promotes adapters.

    A version is read, checked and prepared in a reader thread, put on the base model in the worker's thread, and only
    then found by questions; a failure on the way leaves everything as it was.

    A replaced version stays in memory as long as there is room: rolling back is then immediate, and clients that name
    it exactly are still answered. Above `memory_limit` the least recently used adapters are evicted.
    """

    def __init__(
        self,
        store: Registry,
        loaded: LoadedAdapters,
        worker: Worker,
        metrics: Metrics,
        *,
        memory_limit: int,
        patience: float,
    ) -> None:
        self._store = store
        self._loaded = loaded
        self._worker = worker
        self._metrics = metrics
        self._memory_limit = memory_limit  # bytes
        self._patience = patience  # seconds to wait for room
        self._host: Host | None = None
        self._opened = False
        self._reader = OutsideCalls(_READERS, "store-reader", LONGEST_READ)
        self._loads: dict[str, asyncio.Task[LoadedAdapter]] = {}
        self._changing = asyncio.Lock()  # protects which adapters are in memory
        self._switching = asyncio.Lock()  # protects what names point to; acquired before `_changing`
        self._warned: dict[str, str] = {}  # error per alias that cannot be followed, to log it once
        self._attempts = Attempts()
        self.reloads = ReloadSchedule()

    async def open(self, load: Callable[[], Host], default: str) -> None:
        """Load the base model and the default adapter.

        Raises:
            Exception: whatever either load raised.
        """
        self._host = await self._worker.call(load)
        try:
            await self.obtain(default)
        except LoadFailedError as error:
            raise error.cause from error
        self._opened = True

    async def obtain(self, reference: str) -> LoadedAdapter:
        """Return the adapter that a reference points to here, loading it if necessary; hold it before the next await.

        Raises:
            UnknownModelError: the reference is not registered.
            LoadFailedError: it is damaged, of a newer format, for another base model, or there is no room for it.
            StoreUnavailableError: the store has not answered in time.
        """
        return await self._obtain(reference, for_question=False)

    async def obtain_for_question(self, reference: str) -> LoadedAdapter:
        """Obtain an adapter; one that was evicted for room waits for its turn to be loaded again.

        Raises:
            ModelEvictedError: its turn is too far away.
            UnknownModelError, LoadFailedError, StoreUnavailableError: as `obtain`.
        """
        return await self._obtain(reference, for_question=True)

    async def unload(self, reference: str) -> str:
        """Unload an adapter once its last question is answered; do nothing if it is not loaded.

        Returns its name@version.

        Raises:
            UnknownModelError: the reference is not registered.
            DefaultModelError: it is the default adapter.
        """
        async with self._switching, self._changing:
            adapter = self._loaded.find(reference)
            if adapter is None:
                exact = await self._resolve(reference)
                adapter = self._loaded.find(exact)
                if adapter is None:
                    return exact
            if adapter is self._loaded.default:
                raise DefaultModelError(f"{adapter.manifest.reference} is the default model and cannot be unloaded")
            await self._free(adapter)
        return adapter.manifest.reference

    async def promote(self, name: str, version: int, alias: str) -> None:
        """Load and warm a version, then point the alias to it, first in the store and then here.

        Raises:
            UnknownModelError, LoadFailedError: as `obtain`; the alias is unchanged.
            StoreReadOnlyError: the store cannot be written; the alias is unchanged.
        """
        async with self._switching:
            adapter = await self.obtain(f"{name}@{version}")
            with self._loaded.holding([adapter]):
                try:
                    await self.read(self._store.promote, name, version, alias)
                except StoreError as error:
                    raise LoadFailedError(f"{name}@{alias}", error) from error
                except OSError as error:
                    raise StoreReadOnlyError(f"cannot change {name}@{alias}: the store is not writable") from error
                self._point(f"{name}@{alias}", adapter)
        logger.info("promoted", extra={"model": adapter.manifest.reference, "alias": alias})

    async def follow_store(self, seconds: float) -> None:
        """Check every `seconds`, until cancelled, whether another process changed an alias in the store.

        A version that could not be loaded is retried after pauses that double, since each attempt may evict another
        adapter.
        """
        while True:
            await asyncio.sleep(seconds)
            for alias in self._loaded.aliases():
                await self._follow(alias, seconds)

    async def read(self, read: Callable[..., T], *arguments: object, seconds: float | None = None) -> T:
        """Return what a function reads from the store, in a thread; raises what it raises.

        Raises:
            StoreUnavailableError: it has no result in time; `seconds` replaces the usual bound.
        """
        try:
            return await self._reader.ask(read, *arguments, seconds=seconds)
        except NoAnswerError as error:
            logger.error("model store does not answer", extra={"reason": str(error)})
            raise StoreUnavailableError(f"the model store gave {error}") from error

    async def close(self) -> None:
        """Cancel every load in progress; give up reads that hang."""
        loads = list(self._loads.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        await self._reader.close(_LONGEST_CLOSE)

    async def _follow(self, alias: str, first_pause: float) -> None:
        """Point an alias to the same version as in the store; it is unchanged as long as that cannot be loaded."""
        try:
            async with self._switching:
                exact = await self._resolve(alias)
                known = self._loaded.find(alias)
                if known is not None and known.manifest.reference != exact:
                    if self._attempts.may_try(alias, exact):
                        await self._switch(alias, exact, first_pause)
                    return
            self._warned.pop(alias, None)
        except Exception as error:  # whatever it is, the next check may succeed
            if self._warned.get(alias) != str(error):
                self._warned[alias] = str(error)
                logger.warning("alias not followed", extra={"alias": alias, "error": type(error).__name__})

    async def _switch(self, alias: str, exact: str, first_pause: float) -> None:
        try:
            adapter = await self.obtain(exact)
        except LoadFailedError:
            self._attempts.note_failure(alias, exact, first_pause)
            raise
        self._attempts.forget(alias)
        self._warned.pop(alias, None)
        self._point(alias, adapter)
        logger.info("alias followed", extra={"alias": alias, "model": exact})

    def _point(self, reference: str, adapter: LoadedAdapter) -> None:
        self._loaded.point(reference, adapter)
        if full_reference(reference) == full_reference(adapter.manifest.name):
            self._metrics.show_production(adapter.manifest)

    async def _resolve(self, reference: str) -> str:
        """Return the name@version that a reference points to in the store; raises like `obtain`."""
        try:
            name, version = await self.read(self._store.resolve, reference)
        except (InvalidReferenceError, UnknownAdapterError) as error:
            raise UnknownModelError(reference) from error
        except (StoreError, OSError) as error:
            raise LoadFailedError(reference, error) from error
        return f"{name}@{version}"

    async def _obtain(self, reference: str, *, for_question: bool) -> LoadedAdapter:
        while (adapter := self._loaded.find(reference)) is None:
            exact = await self._resolve(reference)
            adapter = self._loaded.find(exact) or await self._load_once(exact, for_question)
            if self._loaded.find(exact) is adapter and self._loaded.find(reference) is None:
                self._point(reference, adapter)
        return adapter

    async def _load_once(self, exact: str, for_question: bool) -> LoadedAdapter:
        """Load a version, or wait for its load in progress; cancelling the wait does not cancel the load."""
        load = self._loads.get(exact)
        if load is None:
            free = self._memory_limit - self._loaded.memory_bytes
            pause = self.reloads.reserve(exact, free) if for_question else 0.0
            load = self._loads[exact] = asyncio.create_task(self._load(exact, pause))
            load.add_done_callback(partial(self._end_load, exact))
        return await asyncio.shield(load)

    def _end_load(self, exact: str, load: asyncio.Task[LoadedAdapter]) -> None:
        del self._loads[exact]
        error = None if load.cancelled() else load.exception()
        if isinstance(error, LoadFailedError) and self._opened:  # before that, `open` raises the cause
            cause = error.cause
            extra = {"model": exact, "error": type(cause).__name__, "reason": str(cause)}
            logger.error("adapter not loaded", extra=extra)

    async def _load(self, exact: str, pause: float) -> LoadedAdapter:
        if self._host is None:
            raise RuntimeError("no base model is loaded")
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(pause)
        try:
            async with self._changing:  # one at a time, so that no other load takes the memory counted here
                begun = clock()
                stored = await self.read(self._store.load, exact, seconds=LONGEST_WEIGHTS_READ)
                waiting = clock()
                await self._make_room(exact, stored.memory_bytes)
                waited = clock() - waiting
                adapter = LoadedAdapter(await self._put_on(self._host, stored))
                self._loaded.put(adapter)
                del stored
                await asyncio.to_thread(return_free_memory)
                if self.reloads.note_load(exact, clock() - begun - waited):
                    self._metrics.adapter_reloads.inc()
        except StoreUnavailableError:
            raise
        except Exception as error:
            raise LoadFailedError(exact, error) from error
        self._metrics.announce_model(adapter.manifest)
        logger.info("adapter loaded", extra={"model": exact, "bytes": adapter.memory_bytes})
        return adapter

    async def _put_on(self, host: Host, stored: StoredAdapter) -> Predictor[Any]:
        """Put an adapter on the base model and warm it up, in steps between which the worker answers questions.

        Weights drawn from its posterior may need more memory than stored ones.
        """
        prepared = await self.read(host.prepare, stored, seconds=LONGEST_WEIGHTS_READ)
        await self._make_room(stored.manifest.reference, prepared.memory_bytes)
        predictor = await self._worker.call(partial(self._worker.put_on, host, prepared))
        await self._worker.call(partial(self._worker.warm_up, host, predictor))
        return predictor

    async def _make_room(self, exact: str, needed: int) -> None:
        """Evict adapters that are not in use, least recently used first, until `needed` bytes fit.

        Raises:
            NoRoomError: it does not fit beside the default adapter, or beside adapters that stay in use for too long.
        """
        default = self._loaded.default
        fixed = 0 if default is None else default.memory_bytes
        if fixed + needed > self._memory_limit:
            raise NoRoomError(
                f"{exact} needs {needed} bytes beside {fixed} of the default model (limit: {self._memory_limit})"
            )
        until = asyncio.get_running_loop().time() + self._patience
        while self._loaded.memory_bytes + needed > self._memory_limit:
            adapter = self._loaded.least_recently_used()
            if adapter is not None:
                self.reloads.note_eviction(adapter.manifest.reference, adapter.memory_bytes)
                self._metrics.adapter_evictions.inc()
                await self._free(adapter)
                continue
            try:
                async with asyncio.timeout_at(until):
                    await self._loaded.wait_for_release()
            except TimeoutError as error:
                raise NoRoomError(f"no loaded adapter became idle within {self._patience:g} seconds") from error

    async def _free(self, adapter: LoadedAdapter) -> None:
        """Hide an adapter from new requests, wait for its holders, and remove it from the base model."""
        if self._host is None:
            raise RuntimeError("no base model is loaded")
        self._loaded.drop(adapter)
        while adapter.holders:
            await self._loaded.wait_for_release()
        await self._worker.call(partial(self._host.remove, adapter.predictor))
        await asyncio.to_thread(return_free_memory)
        self._metrics.retire_model(adapter.manifest)
        logger.info("adapter unloaded", extra={"model": adapter.manifest.reference})
