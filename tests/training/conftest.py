"""Runs of a tiny model on a tiny task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.training.tiny_task import write_tiny_task
from uq4ct.training.run_config import RunConfig, parse_run_config
from uq4ct.training.runs.train import train_run


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, calibration, test and shift files."""
    folder = tmp_path_factory.mktemp("data")
    return write_tiny_task(folder, {"train": 64, "calibration": 24, "test": 24, "shift": 8})


ROUTED = {"mixlora", "uq4ct"}
MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def make_config(tiny_folder: Path, tiny_data: Path) -> MakeConfig:
    """Make a run on the tiny base and task; given sections are merged over the defaults."""

    def make(method: str = "uq4ct", **sections: dict[str, Any]) -> RunConfig:
        adapter = {"experts": 4, "top_k": 2} if method in ROUTED else {"experts": 1, "top_k": 1}
        record: dict[str, dict[str, Any]] = {
            "base": {"name": str(tiny_folder), "device": "cpu", "dtype": "float32"},
            "data": {
                "source": "jsonl",
                "train": str(tiny_data / "train.jsonl"),
                "calibration": str(tiny_data / "calibration.jsonl"),
                "test": str(tiny_data / "test.jsonl"),
                "shift": {"others": str(tiny_data / "shift.jsonl")},
            },
            "adapter": {**adapter, "rank": 4, "alpha": 8, "dropout": 0.1},
            "loss": {} if method == "uq4ct" else {"calibration": 0},
            "optimizer": {"learning_rate": 1e-2},
            "training": {"epochs": 2, "batch_questions": 8, "resume_point_steps": 3},
        }
        for section, fields in sections.items():
            record[section] = {**record.get(section, {}), **fields}
        return parse_run_config({"name": "tiny", "method": method, **record}, "test")

    return make


@pytest.fixture(scope="session")
def quiet() -> Console:
    """A console that prints nothing."""
    return Console(quiet=True)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig, quiet: Console) -> Path:
    """The folder of one finished UQ4CT run; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train_run(make_config(), folder, quiet)
    return folder


@pytest.fixture
def record(make_config: MakeConfig) -> dict[str, Any]:
    """A valid recipe."""
    return make_config("lora").model_dump(mode="json", exclude={"adopted"})
