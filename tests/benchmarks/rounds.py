"""Compare two programs in interleaved rounds of one process: ratios, since absolute timings do not carry over."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Ratio:
    """The speed of `ours` over that of `theirs`, one number per round; above 1 = ours is faster."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.2f} (rounds {min(self.rounds):.2f} to {max(self.rounds):.2f})"


def compare(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = ROUNDS) -> Ratio:
    """Run both once to warm up, then in turn; the order changes with every round."""
    ours()
    theirs()
    ratios = []
    for index in range(rounds):
        seconds = {}
        for run in (ours, theirs) if index % 2 == 0 else (theirs, ours):
            start = time.perf_counter()
            run()
            seconds[run] = time.perf_counter() - start
        ratios.append(seconds[theirs] / seconds[ours])
    return Ratio(tuple(ratios))
