"""What a cost is at several sizes, and how fast it grows: the slope of its logarithm over that of the size."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Curve:
    """One figure of a row of the table, such as seconds, at each size; sizes and values are above 0.

    `most` is the largest value that is wanted at the largest size, `least` the smallest one; None = no aim.
    """

    row: str
    name: str
    size: str
    points: Sequence[tuple[float, float]]
    most: float | None = None
    least: float | None = None

    @property
    def slope(self) -> float:
        """The power of the size with which the value grows, by least squares: 0 = constant, 1 = linear."""
        logs = [(math.log(size), math.log(value)) for size, value in self.points]
        return statistics.linear_regression(*zip(*logs, strict=True)).slope

    @property
    def verdict(self) -> str:
        """Whether the aim is met at the largest size; empty without one."""
        value = self.points[-1][1]
        if self.most is not None:
            return f"at most {self.most:g}: {'yes' if value <= self.most else 'NO'}"
        if self.least is not None:
            return f"at least {self.least:g}: {'yes' if value >= self.least else 'NO'}"
        return ""


def table(curves: Sequence[Curve]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| row | figure | at each size | slope | aim |"
    yield "|---|---|---|---|---|"
    for curve in curves:
        points = ", ".join(f"{size:,.0f}: {value:.3g}" for size, value in curve.points)
        yield f"| {curve.row} | {curve.name} | {curve.size}: {points} | {curve.slope:.2f} | {curve.verdict} |"


def median_seconds(work: Callable[[], object]) -> float:
    """Return the median time of seven calls."""
    seconds = []
    for _ in range(7):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


@contextmanager
def cpu_seconds(process: psutil.Process) -> Iterator[list[float]]:
    """Append the CPU time that a process uses in the block."""
    spent: list[float] = []
    before = sum(process.cpu_times()[:2])
    yield spent
    spent.append(sum(process.cpu_times()[:2]) - before)
