"""How many questions are in the engine at once, and how long a refused client should wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from service.engine.failures import QueueFullError

_SMOOTHING = 0.2  # weight of the newest forward in the running mean
_LONGEST_WAIT = 60  # seconds; a longer promise would outlive the load it was measured on


class ServiceRate:
    """A running mean of the seconds that one question costs the worker."""

    def __init__(self) -> None:
        self.seconds_per_question = 0.0

    def observe(self, questions: int, seconds: float) -> None:
        """Count a forward that answered `questions` in `seconds`."""
        measured = seconds / questions
        known = self.seconds_per_question
        self.seconds_per_question = measured if known == 0.0 else known + _SMOOTHING * (measured - known)


class Admission:
    """Slots, reserved before any work is done for a question. For the event loop's thread only."""

    def __init__(self, limit: int, rate: ServiceRate) -> None:
        self._limit = limit
        self._rate = rate
        self._taken = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def reserve(self, slots: int) -> Iterator[None]:
        """Hold `slots` slots: all of them or none.

        Raises:
            QueueFullError: fewer are free.
        """
        if self._taken + slots > self._limit:
            raise QueueFullError(self._limit, self._retry_after())
        self._taken += slots
        self._idle.clear()
        try:
            yield
        finally:
            self._taken -= slots
            if self._taken == 0:
                self._idle.set()

    async def wait_until_idle(self) -> None:
        """Return when nothing is admitted."""
        await self._idle.wait()

    def _retry_after(self) -> int:
        """Whole seconds in which the worker gets through what is admitted, at the measured rate."""
        return min(max(math.ceil(self._taken * self._rate.seconds_per_question), 1), _LONGEST_WAIT)
