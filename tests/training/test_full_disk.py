"""A full disk is one line: the file that was being written, and what is kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors import SafetensorError

import uq4ct.training.data.training_set
from tests.command_line import uq4ct as run_uq4ct
from tests.training.conftest import MakeConfig
from tests.training.malformed import check_refusal
from uq4ct.model_store.base.conversion import embedded_folder
from uq4ct.model_store.full_disk import DiskFullError
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.runs.resume_point import RESUME_FILE, read_state

Fill = Callable[..., None]


@pytest.fixture
def fill(monkeypatch: pytest.MonkeyPatch) -> Fill:
    """Let every flush of a file fail whose name contains a text, after `before` of them."""
    flush = os.fsync

    def fill(name: str, before: int = 0) -> None:
        flushed = 0

        def fail(descriptor: int) -> None:
            nonlocal flushed
            if name in Path(f"/proc/self/fd/{descriptor}").readlink().name:
                flushed += 1
                if flushed > before:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", fail)

    return fill


@pytest.fixture
def recipe(make_config: MakeConfig, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(make_config("lora").model_dump(mode="json")))
    return path


def test_a_run_keeps_its_earlier_resume_point(recipe: Path, tmp_path: Path, fill: Fill) -> None:
    fill(RESUME_FILE, before=1)
    folder = tmp_path / "run"
    arguments = ["train", str(recipe), "--output", str(folder)]
    check_refusal(
        arguments,
        f"{folder / RESUME_FILE} cannot be written: the disk is full; the resume point in {folder} is kept: run the "
        "same command with --resume to continue from step 3",
    )
    assert read_state(folder).step == 3
    fill("none")
    assert run_uq4ct([*arguments, "--resume"]).exit_code == 0


@pytest.mark.parametrize("file", ["config.json", RESUME_FILE])
def test_a_run_without_a_resume_point_says_so(file: str, recipe: Path, tmp_path: Path, fill: Fill) -> None:
    fill(file)
    folder = tmp_path / "run"
    named = f"{folder / file} cannot be written: the disk is full; there was no resume point yet, so nothing is kept"
    check_refusal(["train", str(recipe), "--output", str(folder)], named)


def test_the_folder_of_the_tokens_is_named(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")  # every write to it fails
    monkeypatch.setattr(uq4ct.training.data.training_set, "TemporaryFile", lambda dir: full.open("r+b", buffering=0))
    named = f"{tmp_path / 'run'} cannot be written: the disk is full"
    check_refusal(["train", str(recipe), "--output", str(tmp_path / "run")], named)


def test_a_study_ends_with_the_rows_that_it_has_finished(make_config: MakeConfig, tmp_path: Path, fill: Fill) -> None:
    """A later row could not be written either; the second is in the file, though not flushed."""
    record = make_config("lora", training={"epochs": 1}).model_dump(mode="json")
    study = {name: record[name] for name in ("base", "adapter", "loss")} | {
        "name": "small",
        "baseline": "lora",
        "seeds": [0, 1, 2],
        "training": {"epochs": 1},
        "data_sets": {"tiny": {"data": record["data"]}},
        "methods": {"lora": {"method": "lora"}},
    }
    recipe, folder = tmp_path / "study.yaml", tmp_path / "study"
    recipe.write_text(yaml.safe_dump(study))
    kept = f"the disk is full; 2 of 3 rows are finished and kept in {folder}: run the same command again to continue"
    for file, before in (("rows.jsonl", 1), (RESUME_FILE, 0)):
        fill(file, before)
        check_refusal(["study", "--recipe", str(recipe), "--output", str(folder)], file, kept)


def test_publishing_and_evaluating_name_the_file(finished_run: Path, tmp_path: Path, fill: Fill) -> None:
    fill("adapter.safetensors")
    publish = ["publish", str(finished_run), "--store", str(tmp_path / "store"), "--allow-weak-calibration"]
    check_refusal(publish, "adapter.safetensors cannot be written: the disk is full")
    fill("test-raw.jsonl")
    named = f"{tmp_path / 'scores' / 'test-raw.jsonl'} cannot be written: the disk is full"
    check_refusal(["evaluate", str(finished_run), "--output", str(tmp_path / "scores")], named)


def test_a_base_model_that_cannot_be_converted_names_its_folder_and_leaves_nothing(tmp_path: Path) -> None:
    """The library that writes its tensors has an error of its own."""

    def convert(source: Path, target: Path) -> None:
        (target / "part").write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(DiskFullError, match=rf"^{tmp_path}/smollm2-135m-\w+-1 cannot be written: the disk is full$"):
        embedded_folder(tmp_path, locate=lambda: tmp_path / "none.gguf", convert=convert)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_replaced_is_as_it_was(tmp_path: Path, fill: Fill) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    fill("record.json")
    with pytest.raises(DiskFullError):
        replace_file(path, b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"record.json": b"old"}
