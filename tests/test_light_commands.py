"""Help of every verb, and each verb that needs no model, load no heavy library and take little time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from uq4ct.service.cli import cli as service_cli
from uq4ct.training.cli import app as training_cli

_HEAVY = ("datasets", "fastapi", "matplotlib", "numpy", "peft", "safetensors", "scipy", "torch", "transformers")
_MEGABYTES = 100
_SECONDS = 1.0  # of the processor; about 0.5 on an idle core for the slowest, `ledger migrate`

# What each verb is run with; None: it needs a model, or computes with tensors.
VERBS: dict[str, list[str] | None] = {
    "new-recipe": None, "fetch": None, "check-base": None, "questions": None, "plan": None, "train": None,
    "evaluate": None, "compare": None, "publish": None, "adopt": None, "export": None, "demo": None, "study": None,
    "study-report": None, "serve": None, "check": None, "promote": None, "calibration-report": None,
    "replay": ["questions.jsonl"],
    "keys new": ["--file", "keys.json", "--scopes", "predict", "--id", "one"],
    "keys list": ["--file", "keys.json"],
    "keys revoke": ["one", "--file", "keys.json"],
    "ledger migrate": [],
    "ledger prune": [],
    "ledger export": ["--output", "ledger.jsonl"],
}  # fmt: skip
_UNLABELLED = {"id": "q", "question": "Which?", "options": ["a", "b"]}
_EXPECTED_CODES = {"replay": 1}  # the question has no answer; a service to ask is not needed

# Runs each command in turn and prints its exit code, and the heavy modules, seconds and memory of the process so far.
_RUN = """
import contextlib, io, json, os, re, sys, time
from uq4ct.command import main
heavy, commands = json.loads(sys.argv[1])
for command in commands:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = main(command)
    loaded = sorted(set(heavy) & set(sys.modules))
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
    print(json.dumps([" ".join(command), code, loaded, time.process_time(), int(peak[1]) / 1000]))
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ran; `megabytes` and processor `seconds` are those of its process until its end."""

    command: str
    code: int
    loaded: list[str]
    seconds: float
    megabytes: float


def run(folder: Path, commands: list[list[str]]) -> list[Ran]:
    """Run commands one after the other in a fresh interpreter, with its files in `folder`."""
    (folder / "questions.jsonl").write_text(json.dumps(_UNLABELLED) + "\n")
    others = {name: text for name, text in os.environ.items() if not name.startswith("UQ4CT_")}
    # With a backend that is not installed, importing matplotlib is an error.
    environment = {**others, "UQ4CT_DATABASE_URL": "sqlite:///ledger.sqlite3", "MPLBACKEND": "no-such-backend"}
    command = [sys.executable, "-c", _RUN, json.dumps([_HEAVY, commands])]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Ran(*json.loads(line)) for line in done.stdout.splitlines()]


def command_paths(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the name of every command of a group and of the groups within it, such as `keys new`."""
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from command_paths(inner, (*path, name))
        else:
            yield " ".join((*path, name))


DISCOVERED = [path for cli in (training_cli, service_cli) for path in command_paths(get_command(cli))]
HELP = {path: [*path.split(), "--help"] for path in DISCOVERED}
LIGHT = {path: [*path.split(), *arguments] for path, arguments in VERBS.items() if arguments is not None}


def test_every_verb_is_known_here() -> None:
    """A new verb needs a line in VERBS, which says whether it needs a model."""
    assert sorted(DISCOVERED) == sorted(VERBS)


def test_no_help_and_no_verb_without_a_model_loads_a_heavy_library(tmp_path: Path) -> None:
    ran = run(tmp_path, [*HELP.values(), *LIGHT.values()])
    assert {one.command: one.loaded for one in ran if one.loaded} == {}
    codes = dict.fromkeys(map(" ".join, [*HELP.values(), *LIGHT.values()]), 0)
    codes |= {" ".join(LIGHT[path]): code for path, code in _EXPECTED_CODES.items()}
    assert {one.command: one.code for one in ran} == codes
    assert ran[-1].megabytes < _MEGABYTES


@pytest.mark.slow
@pytest.mark.parametrize("path", DISCOVERED)
def test_help_takes_little_time_and_memory(path: str, tmp_path: Path) -> None:
    check_cost(tmp_path, HELP[path])


@pytest.mark.slow
@pytest.mark.parametrize("path", LIGHT)
def test_a_verb_without_a_model_takes_little_time_and_memory(path: str, tmp_path: Path) -> None:
    if path in ("keys list", "keys revoke"):
        run(tmp_path, [LIGHT["keys new"]])
    check_cost(tmp_path, LIGHT[path])


def check_cost(folder: Path, command: list[str]) -> None:
    """Check the processor time and the memory of a command, up to three times, since a neighbour may slow one."""
    ran = run(folder, [command])[0]
    for _ in range(2):
        if ran.seconds < _SECONDS:
            break
        ran = run(folder, [command])[0]
    assert ran.seconds < _SECONDS
    assert ran.megabytes < _MEGABYTES


def test_verbs_that_run_no_model_do_not_load_transformers() -> None:
    """It takes longer to load than torch; `promote`, `calibration-report`, `compare` and others read no base model."""
    modules = (
        "uq4ct.model_store.storage.registry",
        "uq4ct.service.reports.reporting",
        "uq4ct.training.evaluation.predictions",
        "uq4ct.training.evaluation.tables",
        "uq4ct.training.recipes.writing",
        "uq4ct.training.study.report",
    )
    code = f"import sys, {', '.join(modules)}; print(sorted({{'transformers', 'scipy', 'peft'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
