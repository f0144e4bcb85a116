"""A damaged file of a run is an error that names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rich.console import Console

from tests.training.conftest import MakeConfig
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.records import RunError
from uq4ct.training.runs.train import train_run


@pytest.fixture
def copied(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may damage."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.mark.parametrize("file", ["config.json", "result.json", "adapter.safetensors"])
def test_a_truncated_file_of_a_finished_run_is_named(copied: Path, file: str) -> None:
    path = copied / file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=f"{path} cannot be read: "):
        load_run(copied)


@pytest.mark.parametrize("file", ["config.json", "resume_point.safetensors"])
def test_a_truncated_file_of_a_run_to_resume_is_named(
    copied: Path, file: str, make_config: MakeConfig, quiet: Console
) -> None:
    (copied / "result.json").unlink()
    path = copied / file
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=f"{path} cannot be read: "):
        train_run(make_config(), copied, quiet, resume=True)
