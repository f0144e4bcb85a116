"""A tiny task: questions whose answer a tiny model can learn, as JSON lines, and runs on it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from training.run_config import RunConfig, parse_run_config
from training.runs import train_run

COLOURS = ["red", "blue", "white", "black", "green"]
ANIMALS = ["dog", "penguin", "cat", "horse", "cow"]


def _records(name: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Which animal is in the question decides the colour; wrong options are other colours."""
    draw = random.Random(seed)
    records = []
    for index in range(count):
        kind = draw.randrange(len(ANIMALS))
        options = draw.sample([colour for colour in COLOURS if colour != COLOURS[kind]], draw.randint(1, 3))
        answer = draw.randrange(len(options) + 1)
        options.insert(answer, COLOURS[kind])
        question = f"Colour of the {ANIMALS[kind]} number {name} {index}?"
        records.append({"id": f"{name}-{index}", "question": question, "options": options, "answer": answer})
    return records


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train, calibration, test and shift files."""
    folder = tmp_path_factory.mktemp("data")
    for seed, (name, count) in enumerate({"train": 64, "calibration": 24, "test": 24, "shift": 8}.items()):
        lines = [json.dumps(record) for record in _records(name, count, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="session")
def make_config(tiny_folder: Path, tiny_data: Path) -> MakeConfig:
    """A run on the tiny base and task; sections are merged over these."""

    def make(method: str = "uq4ct", **sections: dict[str, Any]) -> RunConfig:
        adapter = {"experts": 1, "top_k": 1} if method == "lora" else {"experts": 4, "top_k": 2}
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
            "training": {"epochs": 2, "batch_questions": 8, "checkpoint_steps": 3},
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
