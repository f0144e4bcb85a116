"""Compare the peak memory that a plan of a run says with that of the run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Console

from tests.gpu.parts import Case, PeakMemory, Setting
from tests.gpu.report import Figure
from tests.gpu.shapes import placed_base
from uq4ct.training.run_config import RunConfig, parse_run_config
from uq4ct.training.runs.plan import plan_run
from uq4ct.training.runs.train import train_run

RUNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checkpointing": {"checkpointing": True},
    "forwards of 200 tokens": {"forward_tokens": 200},
}
TOLERANCE = 0.1


def cases(setting: Setting) -> list[Case]:
    """Runs of a few steps."""
    return [Case(name, partial(_measure, setting, name), 20.0) for name in RUNS]


def _measure(setting: Setting, name: str) -> Sequence[Figure]:
    config, console = _config(setting, name), Console(quiet=True)
    PeakMemory(setting.device)  # forgets the peak of earlier cases
    planned = plan_run(config, console).peak / 1e6
    memory = PeakMemory(setting.device)
    train_run(config, setting.folder / f"plan-{name}", console)
    measured = memory.megabytes()
    return [
        Figure("planned, MB", planned),
        Figure("measured, MB", measured),
        Figure("planned / measured", planned / measured, at_least=1 - TOLERANCE, at_most=1 + TOLERANCE),
    ]


def _config(setting: Setting, name: str) -> RunConfig:
    record = {
        "name": "planned",
        "method": "uq4ct",
        "base": {"name": placed_base(setting).name, "device": str(setting.device), "dtype": setting.speed_dtype},
        "data": {"source": "facts", "train_limit": 64, "calibration_limit": 60, "test_limit": 20},
        "adapter": {"experts": 8, "top_k": 2, "rank": 8, "alpha": 16},
        "training": {"epochs": 1, "batch_questions": 16, **RUNS[name]},
    }
    return parse_run_config(record, f"the run {name!r}")
