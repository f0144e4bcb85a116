"""Loads, unloads and promotions in progress, and their end when the replica shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from uq4ct.service.engine.failures import DrainingError


class Changes:
    """The changes in progress; for the event loop's thread only."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Timeout] = set()
        self._done = asyncio.Event()
        self._done.set()

    def __len__(self) -> int:
        """Return the number of changes in progress."""
        return len(self._under_way)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Count the block as a change in progress.

        Raises:
            DrainingError: `finish` has cancelled it.
        """
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._under_way.add(limit)
                self._done.clear()
                try:
                    yield
                finally:
                    self._under_way.remove(limit)
                    if not self._under_way:
                        self._done.set()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DrainingError("the replica is shutting down; the change was not completed here") from error

    async def finish(self, seconds: float) -> None:
        """Return when no change is in progress; cancel those that take longer than `seconds`."""
        until = asyncio.get_running_loop().time() + seconds
        for limit in self._under_way:
            if limit.when() is None:  # no deadline from an earlier call
                limit.reschedule(until)
        await self._done.wait()
