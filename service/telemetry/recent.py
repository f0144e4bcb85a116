"""How long the latest answered requests took, for people who look at one replica now."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 300.0
MOST_REQUESTS = 1000


@dataclass(frozen=True, slots=True)
class Latency:
    """Median and 95th percentile of the seconds of some requests."""

    requests: int
    median: float
    p95: float


class RecentRequests:
    """The durations of the requests that were answered in the last minutes, at most the newest thousand."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._kept: deque[tuple[float, float]] = deque(maxlen=MOST_REQUESTS)

    def add(self, seconds: float) -> None:
        """Count a request that has just been answered."""
        self._kept.append((self._clock(), seconds))

    def latency(self) -> Latency | None:
        """Return the latency of the window; None if no request was answered in it."""
        oldest = self._clock() - WINDOW_SECONDS
        seconds = [spent for ended, spent in self._kept if ended >= oldest]
        if not seconds:
            return None
        # `quantiles` needs two values; its 19 cuts of one value would all be this value.
        cuts = statistics.quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds
        return Latency(len(seconds), statistics.median(seconds), cuts[-1])
