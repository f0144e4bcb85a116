"""The commands that use a stored base model find it in another folder by its digest."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from tests.command_line import Done, uq4ct
from tests.training.conftest import MakeConfig
from uq4ct.model_store.base.digests import folder_digest
from uq4ct.training.runs.train import train_run


@pytest.fixture(scope="module")
def moved(
    tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, make_config: MakeConfig, quiet: Console
) -> tuple[Path, Path]:
    """A finished run, and the folder to which its base model was moved afterwards."""
    root = tmp_path_factory.mktemp("moving")
    base = shutil.copytree(tiny_folder, root / "there")
    train_run(make_config("lora", base={"name": str(base)}, training={"epochs": 1}), root / "run", quiet)
    return root / "run", base.rename(root / "here")


@pytest.mark.slow
def test_every_command_finds_a_moved_base(moved: tuple[Path, Path], tmp_path: Path) -> None:
    """By the option and, for the service's command, by the setting."""
    run, base = moved
    store = ["--store", str(tmp_path / "store")]
    results = ["--output", str(tmp_path / "results")]
    commands: list[Sequence[str]] = [
        ["evaluate", str(run), *results],
        ["publish", str(run), "--set-coverage", "0.5", "--allow-weak-calibration", *store],
        ["evaluate", "tiny@1", *results, *store],
        ["check", "--model-store-dir", str(tmp_path / "store"), "--device", "cpu"],
    ]
    for command in commands:
        lost = uq4ct(command)
        assert lost.exit_code == 1
        assert "set UQ4CT_BASE_FOLDERS or --base-folders to that folder" in lost.stderr
        assert len(lost.stderr.splitlines()) == 1
        done = uq4ct([*command, "--base-folders", str(base)])
        assert done.exit_code == 0, done.stderr
        assert uq4ct(command, env={"UQ4CT_BASE_FOLDERS": str(base)}).exit_code == 0


def test_a_folder_with_another_base_is_refused_with_both_digests(
    moved: tuple[Path, Path], tmp_path: Path, make_base_folder: Callable[..., Path]
) -> None:
    run, base = moved
    other = make_base_folder(tmp_path / "other", seed=9)
    refused: Done = uq4ct(["evaluate", str(run), "--base-folders", str(other)])
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert line.endswith(f"with digest {folder_digest(base)}: {other} has digest {folder_digest(other)}")
