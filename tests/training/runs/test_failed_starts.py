"""A start that failed leaves nothing in the way of the next one; a run that can be resumed is never replaced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import uq4ct.training.runs.inputs
from tests.training.conftest import MakeConfig
from tests.training.whole_runs import InterruptedRunError, interrupt_at
from uq4ct.model_store.errors import UserError
from uq4ct.training.runs.folder import locked
from uq4ct.training.runs.records import CONFIG_FILE, RunError, read_run
from uq4ct.training.runs.resume_point import RESUME_FILE
from uq4ct.training.runs.train import train_run

LONG = {"id": "long", "question": "word " * 600, "options": ["red", "blue"], "answer": 0}
FOREIGN = '{"model_type": "llama"}'


def no_memory(*_: object) -> None:
    raise MemoryError


@pytest.mark.parametrize(
    ("line", "sections", "fault"),
    [
        ("{", {}, UserError),
        (json.dumps(LONG), {}, UserError),
        ("", {"base": {"name": "no/such/folder"}}, UserError),
        ("", {"adapter": {"targets": ["no_proj"]}}, UserError),
        ("", {"training": {"snapshots": 1000}}, UserError),
        ("", {"optimizer": {"learning_rate": 1e30, "clip_norm": 1e30}}, UserError),
        ("", {}, MemoryError),
    ],
    ids=["data", "long question", "base", "layer", "snapshots", "diverged", "memory"],
)
@pytest.mark.parametrize("method", ["lora", "mc_dropout"])
def test_the_corrected_recipe_starts_in_the_folder_of_a_failed_start(
    method: str,
    line: str,
    sections: dict[str, Any],
    fault: type[Exception],
    tmp_path: Path,
    make_config: MakeConfig,
    quiet: Console,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`mc_dropout` fails within the run that it needs."""
    good = make_config(method, training={"epochs": 1})
    text = Path(good.data.model_dump()["test"]).read_text() + line
    (tmp_path / "test.jsonl").write_text(text)
    bad = make_config(method, **{"training": {"epochs": 1}, "data": {"test": str(tmp_path / "test.jsonl")}, **sections})
    with monkeypatch.context() as patch:
        if fault is MemoryError:
            patch.setattr(uq4ct.training.runs.inputs, "make_model", no_memory)
        with pytest.raises(fault):
            train_run(bad, tmp_path / "run", quiet)
    result = train_run(good, tmp_path / "run", quiet)
    assert read_run(tmp_path / "run") == (good, result)


def test_a_run_that_ended_before_its_first_resume_point_is_replaced_and_after_it_never(
    tmp_path: Path, make_config: MakeConfig, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume point is written every third step."""
    folder, old, new = tmp_path / "run", make_config("lora"), make_config("lora", training={"seed": 1})
    for config, step in ((old, 3), (new, 5)):
        with monkeypatch.context() as patch:
            interrupt_at(patch, step)
            with pytest.raises(InterruptedRunError):
                train_run(config, folder, quiet)
    kept = {name: (folder / name).read_bytes() for name in (CONFIG_FILE, RESUME_FILE)}
    for resume in (False, True):
        with pytest.raises(RunError, match="holds a run with a different configuration"):
            train_run(old, folder, quiet, resume=resume)
    with pytest.raises(RunError, match="continue it with --resume"):
        train_run(new, folder, quiet)
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    train_run(new, folder, quiet, resume=True)
    assert read_run(folder)[0] == new


def test_a_method_keeps_the_finished_run_that_it_needs(
    tmp_path: Path, make_config: MakeConfig, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = tmp_path / "run", make_config("mc_dropout", training={"epochs": 1})

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("uq4ct.training.runs.train.fit_method", fail)
        with pytest.raises(OSError, match="disk full"):
            train_run(config, folder, quiet)
    with pytest.raises(RunError, match="holds a run with a different configuration"):
        train_run(make_config("mc_dropout", training={"epochs": 1, "seed": 5}), folder, quiet)
    (needed,) = (folder / "needed").iterdir()
    before = (needed / "result.json").stat().st_ino
    train_run(config, folder, quiet, resume=True)
    assert (needed / "result.json").stat().st_ino == before


def test_a_configuration_of_another_program_is_not_replaced(
    tmp_path: Path, make_config: MakeConfig, quiet: Console
) -> None:
    (tmp_path / CONFIG_FILE).write_text(FOREIGN)
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        train_run(make_config("lora"), tmp_path, quiet)
    assert (tmp_path / CONFIG_FILE).read_text() == FOREIGN


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path, make_config: MakeConfig, quiet: Console) -> None:
    """Else the second would replace the configuration of a run that has no resume point yet."""
    with locked(tmp_path / "run"), pytest.raises(RunError, match=f"another process trains in {tmp_path / 'run'}"):
        train_run(make_config("lora"), tmp_path / "run", quiet)
    assert not (tmp_path / "run" / CONFIG_FILE).exists()
