"""Changes of what is loaded that somebody waits for, and their end when the replica leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from uq4ct.service.engine.failures import DrainingError


class Changes:
    """Counts the changes under way; for the event loop's thread only."""

    def __init__(self) -> None:
        self._under_way: set[asyncio.Timeout] = set()
        self._done = asyncio.Event()
        self._done.set()

    def __len__(self) -> int:
        """How many changes are under way."""
        return len(self._under_way)

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        """Count what is done inside as a change under way.

        Raises:
            DrainingError: `finish` has given it up.
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
            raise DrainingError("the replica shuts down before the change is done here") from error

    async def finish(self, seconds: float) -> None:
        """Return when no change is under way; one that takes longer than so many seconds is given up."""
        until = asyncio.get_running_loop().time() + seconds
        for limit in self._under_way:
            if limit.when() is None:  # and not given so many seconds before
                limit.reschedule(until)
        await self._done.wait()
