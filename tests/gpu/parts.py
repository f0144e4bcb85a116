"""The parts of the GPU check; their cases run within a time budget, each with its time and peak memory.

This module imports nothing from the project, so that a part with missing imports is reported instead of fatal.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tests.gpu.report import Figure, Row


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting of a run: a device, the shape of the base model, and a folder for temporary files."""

    device: torch.device
    shape: str
    folder: Path

    @property
    def on_gpu(self) -> bool:
        """Whether the run is on a GPU, and so the real check."""
        return self.device.type == "cuda"

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the agreement checks; fp16 is for GPUs."""
        return ("float32", "bfloat16", "float16") if self.on_gpu else ("float32", "bfloat16")

    @property
    def speed_dtype(self) -> str:
        """The dtype of the throughput."""
        return "bfloat16" if self.on_gpu else "float32"


class NotRunError(Exception):
    """A case that this machine cannot run; the message says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """A measurement. `seconds` is its approximate time on a GPU machine: with less time left, it is not started."""

    name: str
    measure: Callable[[], Sequence[Figure]]
    seconds: float


@dataclass(frozen=True, slots=True)
class Part:
    """Cases of one module, whose function `cases` lists them; `needs` are the distributions that it imports."""

    name: str
    module: str
    needs: tuple[str, ...]

    def missing(self) -> list[str]:
        """The required distributions that are not installed."""
        return [name for name in self.needs if not is_installed(name)]


_MODEL = ("torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "peft", "pydantic")
_SERVICE = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "opentelemetry-api", "typer")
PARTS = (
    Part("forward", "tests.gpu.forward", (*_MODEL, "rich")),
    Part("stored adapter", "tests.gpu.stored", _MODEL),
    Part("training step", "tests.gpu.training_step", (*_MODEL, "rich")),
    Part("waiting", "tests.gpu.waiting", (*_MODEL, "rich")),
    Part("families", "tests.gpu.families", (*_MODEL, "rich")),
    Part("memory plan", "tests.gpu.memory_plan", (*_MODEL, "rich", "pyyaml")),
    Part("service", "tests.gpu.serving", (*_MODEL, *_SERVICE, "prometheus-client", "rich", "httpx2", "psutil")),
    Part("throughput", "tests.gpu.throughput", (*_MODEL, "rich")),
)


class Budget:
    """The remaining seconds of a run."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    def fits(self, seconds: float) -> bool:
        """Return whether a case of that many seconds would end in time."""
        return self._clock() + seconds <= self._end


def is_installed(distribution: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def run_part(part: Part, setting: Setting, budget: Budget) -> Iterator[Row]:
    """Return one row per case; an exception in a case becomes its row, so that the others still run."""
    missing = part.missing()
    if missing:
        yield Row(part.name, "all", not_run=f"needs {', '.join(missing)}")
        return
    try:
        cases: Sequence[Case] = importlib.import_module(part.module).cases(setting)
    except Exception as error:  # whatever it is, the other parts should still run
        traceback.print_exc(file=sys.stderr)
        yield Row(part.name, "all", error=_describe(error))
        return
    for case in cases:
        yield run_case(part.name, case, setting, budget)


def run_case(part: str, case: Case, setting: Setting, budget: Budget) -> Row:
    """Measure a case if there is enough time left."""
    if not budget.fits(case.seconds):
        return Row(part, case.name, not_run=f"out of time (takes about {case.seconds:.0f} s)")
    memory = PeakMemory(setting.device)
    start = time.perf_counter()
    try:
        figures = tuple(case.measure())
    except NotRunError as reason:
        return Row(part, case.name, not_run=str(reason), expected=True)
    except Exception as error:  # out of memory, say: the next case may still fit
        traceback.print_exc(file=sys.stderr)
        return Row(part, case.name, seconds=time.perf_counter() - start, error=_describe(error))
    return Row(part, case.name, figures, time.perf_counter() - start, memory.megabytes())


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


class PeakMemory:
    """Peak memory since creation: torch's allocations on a GPU, else the process's resident memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _forget_peak_resident()

    def megabytes(self) -> float:
        """The peak in MB."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        return peak_resident_megabytes("self")


def peak_resident_megabytes(process: int | str) -> float:
    """Return the peak resident memory of a process since its start, or since this process reset its own."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    lines = [line.split() for line in status.splitlines() if line.startswith("VmHWM:")]
    if lines:
        return int(lines[0][1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # kernels without that line


def _forget_peak_resident() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # then the peak is that of all cases so far
