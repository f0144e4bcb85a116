"""Load -> warm -> swap -> free: which adapters are in memory, and what their names mean here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.errors import InvalidReferenceError, StoreError, UnknownAdapterError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.failures import (
    DefaultModelError,
    LoadFailedError,
    NoRoomError,
    StoreReadOnlyError,
    UnknownModelError,
)
from uq4ct.service.engine.loaded import LoadedAdapter, LoadedAdapters
from uq4ct.service.engine.predictor import Host, Predictor
from uq4ct.service.engine.worker import Worker
from uq4ct.service.telemetry.metrics import Metrics

_LONGEST_PAUSE = 600.0  # seconds between two tries of a version that cannot be loaded

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _PutOff:
    """What an alias means in the store and could not be loaded here; tried again at `until` of the loop's clock."""

    exact: str
    pause: float
    until: float


class Swaps:
    """Changes of what is loaded. A version is read and checked in a thread of its own, put on the base model in the
    worker's, and only then found by questions; what fails on the way leaves everything as it was.

    A version that was replaced stays in memory as long as there is room: rolling back is then immediate, and clients
    that name it exactly are still answered. Beyond `memory_limit` the least recently used goes.
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
        self._reader = ThreadPoolExecutor(2, thread_name_prefix="adapter-reader")  # one for a long read, one beside
        self._loads: dict[str, asyncio.Task[LoadedAdapter]] = {}
        self._changing = asyncio.Lock()  # what is in memory
        self._switching = asyncio.Lock()  # what a name means; taken before the other one
        self._warned: dict[str, str] = {}  # of an alias that cannot be followed, so that a log has it once
        self._put_off: dict[str, _PutOff] = {}

    async def open(self, load: Callable[[], Host], default: str) -> None:
        """Load the base model and the default adapter.

        Raises:
            Exception: whatever either raised.
        """
        self._host = await self._worker.call(load)
        try:
            await self.obtain(default)
        except LoadFailedError as error:
            raise error.cause from error
        self._opened = True

    async def obtain(self, reference: str) -> LoadedAdapter:
        """The adapter that a reference means here, loaded now if it is not; hold it before the next await.

        Raises:
            UnknownModelError: nothing of that reference is registered.
            LoadFailedError: it is damaged, of a newer format, for another base model, or there is no room for it.
        """
        while (adapter := self._loaded.find(reference)) is None:
            exact = await self._resolve(reference)
            adapter = self._loaded.find(exact) or await self._load_once(exact)
            if self._loaded.find(exact) is adapter and self._loaded.find(reference) is None:
                self._loaded.point(reference, adapter)
        return adapter

    async def unload(self, reference: str) -> str:
        """Free an adapter as soon as its last question is answered; nothing happens if it is not loaded.

        Returns its name@version.

        Raises:
            UnknownModelError: nothing of that reference is registered.
            DefaultModelError: it is the default.
        """
        async with self._switching, self._changing:
            adapter = self._loaded.find(reference)
            if adapter is None:
                exact = await self._resolve(reference)
                adapter = self._loaded.find(exact)
                if adapter is None:
                    return exact
            if adapter is self._loaded.default:
                raise DefaultModelError(f"{adapter.manifest.reference} is the default model")
            await self._free(adapter)
        return adapter.manifest.reference

    async def promote(self, name: str, version: int, alias: str) -> None:
        """Load and warm a version, let the alias mean it in the store, and then here.

        Raises:
            UnknownModelError, LoadFailedError: as `obtain`; the alias means what it meant.
            StoreReadOnlyError: the store cannot be written; the alias means what it meant.
        """
        async with self._switching:
            adapter = await self.obtain(f"{name}@{version}")
            with self._loaded.holding([adapter]):
                try:
                    await self._read(self._store.promote, name, version, alias)
                except StoreError as error:
                    raise LoadFailedError(f"{name}@{alias}", error) from error
                except OSError as error:
                    raise StoreReadOnlyError(f"{name}@{alias} could not be changed") from error
                self._loaded.point(f"{name}@{alias}", adapter)
        logger.info("promoted", extra={"model": adapter.manifest.reference, "alias": alias})

    async def follow_store(self, seconds: float) -> None:
        """For ever: see every so many seconds whether an alias was changed in the store by somebody else.

        A version that could not be loaded is tried again after pauses that double, since each try may cost another
        adapter its place.
        """
        while True:
            await asyncio.sleep(seconds)
            for alias in self._loaded.aliases():
                await self._follow(alias, seconds)

    async def close(self) -> None:
        """End every load that is under way."""
        loads = list(self._loads.values())
        for load in loads:
            load.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        self._reader.shutdown()

    async def _follow(self, alias: str, first_pause: float) -> None:
        """Let an alias mean what it means in the store; it keeps its meaning as long as that cannot be loaded."""
        try:
            async with self._switching:
                exact = await self._resolve(alias)
                known = self._loaded.find(alias)
                if known is not None and known.manifest.reference != exact:
                    if not self._is_put_off(alias, exact):
                        await self._switch(alias, exact, first_pause)
                    return
            self._warned.pop(alias, None)
        except Exception as error:  # whatever it is, the next look may find it mended
            if self._warned.get(alias) != str(error):
                self._warned[alias] = str(error)
                logger.warning("alias not followed", extra={"alias": alias, "error": type(error).__name__})

    async def _switch(self, alias: str, exact: str, first_pause: float) -> None:
        try:
            adapter = await self.obtain(exact)
        except LoadFailedError:
            last = self._put_off.get(alias)
            pause = first_pause if last is None or last.exact != exact else min(2 * last.pause, _LONGEST_PAUSE)
            self._put_off[alias] = _PutOff(exact, pause, asyncio.get_running_loop().time() + pause)
            raise
        self._put_off.pop(alias, None)
        self._warned.pop(alias, None)
        self._loaded.point(alias, adapter)
        logger.info("followed the store", extra={"alias": alias, "model": exact})

    def _is_put_off(self, alias: str, exact: str) -> bool:
        last = self._put_off.get(alias)
        return last is not None and last.exact == exact and asyncio.get_running_loop().time() < last.until

    async def _resolve(self, reference: str) -> str:
        """The name@version that a reference means in the store; raises as `obtain`."""
        try:
            name, version = await self._read(self._store.resolve, reference)
        except (InvalidReferenceError, UnknownAdapterError) as error:
            raise UnknownModelError(reference) from error
        except (StoreError, OSError) as error:
            raise LoadFailedError(reference, error) from error
        return f"{name}@{version}"

    async def _load_once(self, exact: str) -> LoadedAdapter:
        """Load a version, or wait for the load that is under way; giving up the wait does not end it."""
        load = self._loads.get(exact)
        if load is None:
            load = self._loads[exact] = asyncio.create_task(self._load(exact))
            load.add_done_callback(partial(self._end_load, exact))
        return await asyncio.shield(load)

    def _end_load(self, exact: str, load: asyncio.Task[LoadedAdapter]) -> None:
        del self._loads[exact]
        error = None if load.cancelled() else load.exception()
        if isinstance(error, LoadFailedError) and self._opened:  # before that, `open` raises the cause
            cause = error.cause
            extra = {"model": exact, "error": type(cause).__name__, "reason": str(cause)}
            logger.error("adapter not loaded", extra=extra)

    async def _load(self, exact: str) -> LoadedAdapter:
        if self._host is None:
            raise RuntimeError("no base model is loaded")
        try:
            async with self._changing:  # one at a time: what is read and what has room are counted once
                stored = await self._read(self._store.load, exact)
                await self._make_room(exact, stored.memory_bytes)
                adapter = LoadedAdapter(await self._put_on(self._host, stored))
                self._loaded.put(adapter)
        except Exception as error:
            raise LoadFailedError(exact, error) from error
        self._metrics.announce_model(adapter.manifest)
        logger.info("adapter loaded", extra={"model": exact, "bytes": adapter.predictor.memory_bytes})
        return adapter

    async def _put_on(self, host: Host, stored: StoredAdapter) -> Predictor[Any]:
        """Put an adapter on the base model; with the weights that its posterior draws it may need more room."""
        predictor = await self._worker.call(partial(self._worker.put_on, host, stored))
        try:
            await self._make_room(stored.manifest.reference, predictor.memory_bytes)
        except NoRoomError:
            await self._worker.call(partial(host.remove, predictor))
            raise
        return predictor

    async def _make_room(self, exact: str, needed: int) -> None:
        """Free adapters that have no work, least recently used first, until one more fits.

        Raises:
            NoRoomError: it does not fit beside the default, or beside those that have work for too long.
        """
        default = self._loaded.default
        fixed = 0 if default is None else default.predictor.memory_bytes
        if fixed + needed > self._memory_limit:
            raise NoRoomError(f"{exact} needs {needed} bytes beside {fixed}, the limit is {self._memory_limit}")
        until = asyncio.get_running_loop().time() + self._patience
        while self._loaded.memory_bytes + needed > self._memory_limit:
            adapter = self._loaded.least_recently_used()
            if adapter is not None:
                await self._free(adapter)
                continue
            try:
                async with asyncio.timeout_at(until):
                    await self._loaded.wait_for_release()
            except TimeoutError as error:
                raise NoRoomError(f"every loaded adapter has work for {self._patience:g} seconds") from error

    async def _free(self, adapter: LoadedAdapter) -> None:
        """Let nobody find it any more, wait for those who have it, and take it off the base model."""
        if self._host is None:
            raise RuntimeError("no base model is loaded")
        self._loaded.drop(adapter)
        while adapter.holders:
            await self._loaded.wait_for_release()
        await self._worker.call(partial(self._host.remove, adapter.predictor))
        self._metrics.retire_model(adapter.manifest)
        logger.info("adapter freed", extra={"model": adapter.manifest.reference})

    async def _read(self, read: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._reader, read, *arguments)
