"""The usable CPUs: quotas of both versions of cgroups, and what other programs use by the system's own count."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.system_files import write_files
from uq4ct.model_store.cpus import OtherPrograms, cpu_quota, usable_cpus


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "max 100000"}, 1.5),
        ("0::/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "100000 50000"}, 2.0),
        ("0::/of/the/host", {"cpu.max": "100000 100000"}, 1.0),
        ("0::/a", {"b/cpu.max": "100000 100000"}, math.inf),
        ("3:cpu,cpuacct:/", {"cpu,cpuacct/cpu.cfs_quota_us": "50000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 0.5),
        ("3:cpu:/a", {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"}, math.inf),
        ("3:cpuset:/a\n0::/", {"cpuset/a/cpu.max": "50000 100000"}, math.inf),
        ("4:cpu:/x\n0::/y", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("0::/", {}, math.inf),
    ],
)  # fmt: skip
def test_the_least_quota_of_a_cgroup_and_its_parents_counts(
    own: str, files: dict[str, str], quota: float, tmp_path: Path
) -> None:
    cgroups = write_files(tmp_path / "cgroups", files)
    assert cpu_quota(cgroups, write_files(tmp_path, {"own": own}) / "own") == quota


def test_the_usable_cpus_are_those_of_the_affinity_within_the_quota(tmp_path: Path) -> None:
    affinity, own = len(os.sched_getaffinity(0)), write_files(tmp_path, {"own": "0::/"}) / "own"
    for quota, usable in {"20000": 1, "149000": 1, "100000000": affinity}.items():
        assert usable_cpus(write_files(tmp_path, {"cpu.max": f"{quota} 100000"}), own) == usable
    assert usable_cpus(tmp_path / "missing", tmp_path / "missing") == affinity


def test_other_programs_are_what_is_busy_without_this_one(tmp_path: Path) -> None:
    """By hand: in 2 s, the CPUs of this process were busy for 1.5 + 0.9 s, of which this process had 0.6 s."""
    first, *_ = sorted(os.sched_getaffinity(0))
    ticks = os.sysconf("SC_CLK_TCK")

    def statistics(busy: float, idle: int) -> Path:
        row = " ".join(map(str, (int(busy * ticks), 0, 0, idle, idle, 0, 0, 0, 0, 0)))
        elsewhere = max(os.sched_getaffinity(0)) + 1
        return write_files(tmp_path, {"stat": f"cpu  9 9 9 9\ncpu{first} {row}\ncpu{elsewhere} {row}\nintr 5"}) / "stat"

    times, own = iter([10.0, 12.0, 13.0]), iter([1.0, 1.6, 9.0])
    others = OtherPrograms(statistics(1.0, 5), lambda: next(own), lambda: next(times))
    statistics(3.4, 900)
    assert others.busy_cpus() == pytest.approx((2.4 - 0.6) / 2)
    assert others.busy_cpus() == 0, "never below 0, although the counts of the system are rough"


def test_without_the_counts_of_the_system_nobody_is_busy(tmp_path: Path) -> None:
    assert OtherPrograms(tmp_path / "missing").busy_cpus() == 0


@pytest.mark.slow
@pytest.mark.timed
def test_a_busy_neighbour_is_seen_and_this_program_is_not() -> None:
    """On this machine, whose other programs are idle in this part of the suite."""
    others = OtherPrograms()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            until = time.monotonic() + 2
            while time.monotonic() < until:
                pass
            beside = others.busy_cpus()
        finally:
            neighbour.kill()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        pass
    alone = others.busy_cpus()
    assert 0.5 < beside < 1.5
    assert alone < 0.5
