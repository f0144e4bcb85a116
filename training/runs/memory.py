"""Memory of this process in bytes: what it uses, its peak over a piece of work, and what it can get.

On a GPU these are torch's allocations, else the resident memory of the process, which Linux alone reports.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import torch

from uq4ct.model_store.cgroups import CGROUPS, OWN_CGROUPS, cgroup_folders
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.heap import return_free_memory

_OWN = Path("/proc/self")
_MACHINE = Path("/proc/meminfo")
_RESET_PEAK = "5"  # written to clear_refs, see proc(5)


class UnknownMemoryError(UserError, RuntimeError):
    """The system does not say how much memory this process uses."""


class PeakMemory:
    """The peak of this process's memory since this object was made.

    Raises:
        UnknownMemoryError: the system does not say.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        return_free_memory()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            (_OWN / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        except OSError as error:
            raise UnknownMemoryError(f"the peak of memory cannot be measured here: {error}") from error

    def read(self) -> int:
        """Return the peak."""
        return peak_memory(self._device)


def peak_memory(device: torch.device) -> int:
    """Return the peak of this process's memory so far.

    Raises:
        UnknownMemoryError: the system does not say.
    """
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _own("VmHWM")


def memory_in_use(device: torch.device) -> int:
    """Return the memory that this process uses now.

    Raises:
        UnknownMemoryError: the system does not say.
    """
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else _own("VmRSS")


def available_memory(device: torch.device, cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> int:
    """Return what this process has and what it can get: of the machine within the limits of its cgroups, or of the GPU.

    Raises:
        UnknownMemoryError: the system does not say.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    machine = _fields(_MACHINE).get("MemAvailable:")
    if machine is None:
        raise UnknownMemoryError("the available memory is not known here")
    limits = (left for folder in cgroup_folders("memory", cgroups, own) for left in _left(folder))
    return min([1024 * machine, *limits]) + memory_in_use(device)


def _own(name: str) -> int:
    fields = _fields(_OWN / "status")
    if f"{name}:" not in fields:
        raise UnknownMemoryError("the memory of this process is not known here")
    return 1024 * fields[f"{name}:"]


def _left(folder: Path) -> Iterator[int]:
    """Yield what a cgroup's processes can still get, if it has a limit; the cache of files can be dropped."""
    for limit, used, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, now = ((folder / name).read_text(encoding="ascii").strip() for name in (limit, used))
        except OSError:
            continue
        if most != "max":
            yield max(0, int(most) - int(now) + _fields(folder / "memory.stat").get(cached, 0))


def _fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file with a name and a number in each line, such as those in /proc."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    rows = (line.split() for line in lines)
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
