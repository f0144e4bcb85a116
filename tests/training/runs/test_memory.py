"""Memory of this process: peaks of known allocations, and limits of both versions of cgroups."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.system_files import write_files
from uq4ct.training.runs import memory
from uq4ct.training.runs.memory import PeakMemory, UnknownMemoryError, available_memory, memory_in_use, peak_memory

CPU = torch.device("cpu")
MEGABYTE = 1_000_000


def test_a_peak_is_that_of_its_own_piece_of_work() -> None:
    before = memory_in_use(CPU)
    first = PeakMemory(CPU)
    torch.ones(300 * MEGABYTE, dtype=torch.uint8)  # freed at once
    high = first.read()
    assert high - before > 280 * MEGABYTE
    second = PeakMemory(CPU)
    torch.ones(100 * MEGABYTE, dtype=torch.uint8)
    assert 80 * MEGABYTE < second.read() - memory_in_use(CPU) < 150 * MEGABYTE
    assert second.read() == peak_memory(CPU)


@pytest.mark.parametrize(
    ("own", "files", "left"),
    [
        ("0::/", {"memory.max": "5000000", "memory.current": "3000000", "memory.stat": "anon 1\ninactive_file 500000"},
         2_500_000),
        ("0::/a", {"memory.max": "4000000", "memory.current": "1000000",
                   "a/memory.max": "max", "a/memory.current": "900000"}, 3_000_000),
        ("0::/a", {"a/memory.max": "1000000", "a/memory.current": "1500000"}, 0),
        ("4:memory:/x", {"memory/x/memory.limit_in_bytes": "800000", "memory/x/memory.usage_in_bytes": "300000",
                         "memory/x/memory.stat": "total_inactive_file 100000"}, 600_000),
        ("4:cpu:/x", {"cpu/x/memory.max": "1000", "cpu/x/memory.current": "0"}, None),
    ],
)  # fmt: skip
def test_the_least_that_a_cgroup_leaves_is_available(
    own: str, files: dict[str, str], left: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = 16 * MEGABYTE
    monkeypatch.setattr(memory, "_MACHINE", write_files(tmp_path, {"meminfo": "MemAvailable: 15625 kB"}) / "meminfo")
    monkeypatch.setattr(memory, "memory_in_use", lambda _: 7)
    cgroups = write_files(tmp_path / "cgroups", files)
    found = available_memory(CPU, cgroups, write_files(tmp_path, {"own": own}) / "own")
    assert found == 7 + (machine if left is None else left)


def test_a_system_that_says_nothing_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_OWN", tmp_path)
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "meminfo")
    for ask in (memory_in_use, peak_memory, available_memory):
        with pytest.raises(UnknownMemoryError, match="not known here"):
            ask(CPU)
    monkeypatch.setattr(memory, "_OWN", tmp_path / "missing")
    with pytest.raises(UnknownMemoryError, match="cannot be measured here"):
        PeakMemory(CPU)
