"""A real adapter, trained and published in seconds; the quality of its answers does not matter."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tests.training.publishing import publish_tiny_run
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.run_config import parse_run_config
from uq4ct.training.runs.train import train_run


def publish_small(folder: Path, store: Path) -> None:
    """Train `bench` on the embedded base model for one step, and publish it."""
    quiet = Console(quiet=True)
    config = parse_run_config(
        {
            "name": "bench",
            "method": "uq4ct",
            "adapter": {"rank": 8, "alpha": 16},
            "training": {"epochs": 1},
            "data": {"source": "facts", "train_limit": 16, "calibration_limit": 32, "test_limit": 16},
        },
        "benchmark",
    )
    train_run(config, folder / "run", quiet)
    publish_tiny_run(folder / "run", Registry(store), quiet)
