"""Helpers for tests of whole runs: their losses, and an interrupted and resumed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

import uq4ct.training.runs.loop
from uq4ct.training.data.batches import forwards
from uq4ct.training.run_config import RunConfig
from uq4ct.training.runs.loop import KEPT_FILE, LOG_FILE
from uq4ct.training.runs.train import train_run


class InterruptedRunError(Exception):
    """Simulates a power cut during a run."""


def losses_of(folder: Path) -> list[float]:
    return [json.loads(line)["losses"]["loss"] for line in (folder / LOG_FILE).read_text().splitlines()]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Make the run fail when it asks for the forwards of a step, counted from 1."""
    calls = 0

    def failing(questions: Any, *limits: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == step:
            raise InterruptedRunError
        return forwards(questions, *limits)

    monkeypatch.setattr(uq4ct.training.runs.loop, "forwards", failing)


def check_resumed(
    config: RunConfig, step: int, whole: Path, folder: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupt a run at a step and resume it: weights and losses are bit-identical to the whole run's."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, step)
        with pytest.raises(InterruptedRunError):
            train_run(config, folder, quiet)
    torch.manual_seed(12345)  # random draws in between must not matter
    train_run(config, folder, quiet, resume=True)
    ours, theirs = load_file(folder / KEPT_FILE), load_file(whole / KEPT_FILE)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert losses_of(folder) == losses_of(whole)
