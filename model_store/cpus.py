"""The CPUs that this process can use: its affinity, its cgroup's quota, and what other programs leave of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from uq4ct.model_store.cgroups import CGROUPS, OWN_CGROUPS, cgroup_folders

_STATISTICS = Path("/proc/stat")
_BUSY_COLUMNS = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; idle and iowait are not busy


def usable_cpus(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Return how many threads can compute at once: the CPUs of the affinity, at most the cgroup's quota, at least 1."""
    return max(1, round(min(len(_affinity()), cpu_quota(cgroups, own))))


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float:
    """Return the least CPU quota of the process's cgroup and its parents, in CPUs; infinite without one.

    Args:
        cgroups: where the cgroup file systems are mounted.
        own: the file that names the process's cgroups, as in cgroups(7).
    """
    return min(
        (quota for folder in cgroup_folders("cpu", cgroups, own) for quota in _quotas(folder)), default=float("inf")
    )


class OtherPrograms:
    """Measures how many CPUs of this process's affinity other programs keep busy."""

    def __init__(
        self,
        statistics: Path = _STATISTICS,
        own_seconds: Callable[[], float] = time.process_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statistics = statistics
        self._own_seconds = own_seconds
        self._clock = clock
        self._last = self._read()

    def busy_cpus(self) -> float:
        """Return the mean number of CPUs that other programs used since the last call; 0 where nobody can tell."""
        before, self._last = self._last, self._read()
        if before is None or self._last is None or self._last[0] <= before[0]:
            return 0.0
        seconds, busy, own = (now - then for now, then in zip(self._last, before, strict=True))
        return max(0.0, (busy - own) / seconds)

    def _read(self) -> tuple[float, float, float] | None:
        """Return the time, and the CPU seconds of all programs and of this process."""
        try:
            lines = self._statistics.read_text(encoding="utf-8").splitlines()
        except OSError:  # not Linux, or hidden
            return None
        names = {f"cpu{number}" for number in _affinity()}
        rows = (line.split() for line in lines if line.startswith("cpu"))
        ticks = sum(int(row[1 + column]) for row in rows if row[0] in names for column in _BUSY_COLUMNS)
        return self._clock(), ticks / os.sysconf("SC_CLK_TCK"), self._own_seconds()


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _quotas(folder: Path) -> Iterator[float]:
    """Yield the quota of a cgroup in CPUs, if it has one."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
        except OSError:
            continue
        if words[0] not in ("max", "-1"):
            yield int(words[0]) / int(words[1])
