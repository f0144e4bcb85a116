"""How often evicted adapters may be loaded again, so that reloads leave most of the time to answers."""

from __future__ import annotations

import asyncio
import math

from uq4ct.service.engine.failures import ModelEvictedError

_REMEMBERED = 600.0  # seconds since its eviction in which loading a version again counts as a reload
_SHARE = 0.2  # of the time that reloads may take
_LONGEST_WAIT = 2.0  # seconds that a question waits for a reload to begin
_LONGEST_PAUSE = 60.0  # seconds from one reload to the next
_SMOOTHING = 0.2  # weight of the latest load in the running mean


class ReloadSchedule:
    """Turns for the loads that a question needs because its adapter was evicted. For the event loop's thread only.

    With more adapters in use than fit in memory, every load evicts one that is needed again soon, and answers stop. So
    a reload of c seconds reserves c / share seconds, and the next one begins after that.
    """

    def __init__(self) -> None:
        self._evicted: dict[str, tuple[float, int]] = {}  # time of the eviction and bytes by name@version, oldest first
        self._seconds = 0.0  # running mean of a load
        self._next = 0.0  # when the next reload may begin, by the event loop's clock

    def note_eviction(self, exact: str, memory_bytes: int) -> None:
        """Note that a version was evicted to make room for another."""
        self._evicted.pop(exact, None)
        self._evicted[exact] = (self._now(), memory_bytes)
        self._forget()

    def note_load(self, exact: str, seconds: float) -> bool:
        """Note that a version was loaded, and what it took; return whether it had been evicted before."""
        self._seconds = seconds if self._seconds == 0.0 else self._seconds + _SMOOTHING * (seconds - self._seconds)
        self._forget()
        return self._evicted.pop(exact, None) is not None

    def reserve(self, exact: str, free_bytes: int) -> float:
        """Return the seconds after which a question may load a version; 0 unless that is a reload without room.

        Raises:
            ModelEvictedError: that would be too long.
        """
        self._forget()
        evicted = self._evicted.get(exact)
        if evicted is None or evicted[1] <= free_bytes:
            return 0.0
        wait = max(0.0, self._next - self._now())
        if wait > _LONGEST_WAIT:
            raise ModelEvictedError(exact, math.ceil(wait))
        self._next = max(self._next, self._now()) + min(self._seconds / _SHARE, _LONGEST_PAUSE)
        return wait

    def _forget(self) -> None:
        """Drop evictions that are too long ago."""
        while self._evicted:
            exact, (since, _) = next(iter(self._evicted.items()))
            if since + _REMEMBERED > self._now():
                return
            del self._evicted[exact]

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
