"""Ctrl-C ends a command within seconds, with one line that says what is kept, and code 130."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.training.conftest import MakeConfig
from uq4ct.training.runs.records import ADAPTER_FILE
from uq4ct.training.runs.resume_point import RESUME_FILE, read_state

pytestmark = pytest.mark.slow

# A thread that the interpreter would wait for, as for one that loads a model.
HANGING = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start();"
RUN = f"{HANGING} from uq4ct.command import run; run()"
LONG = {"epochs": 1000, "batch_questions": 8}


@pytest.fixture
def recipe(make_config: MakeConfig, tmp_path: Path) -> Path:
    """A run that lasts for minutes, with a resume point every third step."""
    return written(tmp_path / "recipe.yaml", make_config("lora", training=LONG).model_dump(mode="json"))


def written(path: Path, record: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    return path


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", RUN, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(text: str, process: subprocess.Popen[str]) -> str:
    """Return the first line of a process's output that contains a text."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(process.stderr.read() if process.stderr else "")


def stop(process: subprocess.Popen[str]) -> str:
    """Press Ctrl-C, and return the only line on stderr of a process that ends within two seconds with code 130."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=2)
    assert process.returncode == 130
    (line,) = errors.splitlines()
    return line


def test_a_stopped_run_names_the_step_from_which_it_goes_on(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ("train", str(recipe), "--output", str(folder))
    with running(*arguments) as process:
        wait_for("step 40/", process)
        said = stop(process)
    step = read_state(folder).step
    kept = f"the resume point in {folder} is kept"
    assert said == f"stopped: {kept}: run the same command with --resume to continue from step {step}"
    assert step >= 39
    with running(*arguments, "--resume") as process:
        assert wait_for("resumed at", process) == f"resumed at step {step} of 8000\n"


def test_a_run_that_is_stopped_before_its_first_resume_point_keeps_nothing_and_starts_again(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config = make_config("lora", training=LONG | {"resume_point_steps": 10**6, "batch_questions": 1, "epochs": 1000})
    record = config.model_dump(mode="json")
    recipe = written(tmp_path / "recipe.yaml", record)
    for _ in range(2):
        with running("train", str(recipe), "--output", str(tmp_path / "run")) as process:
            wait_for("reads questions", process)
            said = stop(process)
        assert said == "stopped: there was no resume point yet, so nothing is kept: run the same command again"


def test_a_method_that_is_stopped_names_the_runs_that_it_needs(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config("mc_dropout", training=LONG)
    recipe, folder = written(tmp_path / "recipe.yaml", config.model_dump(mode="json")), tmp_path / "run"
    with running("train", str(recipe), "--output", str(folder)) as process:
        wait_for("step 40/", process)
        said = stop(process)
    assert said == f"stopped: the runs in {folder / 'needed'} are kept: run the same command with --resume to continue"
    (needed,) = (folder / "needed").iterdir()
    assert (needed / RESUME_FILE).exists()
    assert not (needed / ADAPTER_FILE).exists()


def test_a_stopped_study_counts_the_rows_that_it_has_finished(make_config: MakeConfig, tmp_path: Path) -> None:
    record = make_config("lora", training={"epochs": 1}).model_dump(mode="json")
    sections = {name: record[name] for name in ("base", "adapter", "loss", "training")}
    sections["training"].pop("seed")
    study = {
        "name": "small",
        "baseline": "short",
        "data_sets": {"tiny": {"data": record["data"]}},
        "methods": {"short": {"method": "lora"}, "long": {"method": "lora", "training": {"epochs": 1000}}},
    }
    recipe, folder = written(tmp_path / "study.yaml", sections | study), tmp_path / "study"
    with running("study", "--recipe", str(recipe), "--output", str(folder)) as process:
        wait_for("short on tiny, seed 0: none", process)
        wait_for("step 20/", process)
        said = stop(process)
    assert said == f"stopped: 1 of 2 rows are finished and kept in {folder}: run the same command again to continue"


SLOW_IMPORT = (
    "{'find_spec': staticmethod(lambda name, *_: (print('importing', flush=True), time.sleep(60)) "
    "if name == 'torch' else None)}"
)


def test_a_command_that_still_imports_stops_too(recipe: Path) -> None:
    finder = f"sys.meta_path.insert(0, type('Slow', (), {SLOW_IMPORT}))"
    code = f"import sys, time; from uq4ct.command import run; {finder}; run()"
    command = [sys.executable, "-c", code, "train", str(recipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for("importing", process)
        assert stop(process) == "stopped"
