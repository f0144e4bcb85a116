"""The walk-throughs of ten minutes, run as written; only addresses, and the length of the replay, are others."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from tests.readme.curl import send
from tests.readme.examples.root import MAKE_DEMO, MAKE_SERVE
from tests.readme.examples.service import (
    DEVELOPER_PROGRAM,
    DEVELOPER_SERVE,
    OPERATOR_CALIBRATION,
    OPERATOR_DEMO,
    OPERATOR_ERRORS,
    OPERATOR_PROMOTIONS,
    OPERATOR_QUESTIONS,
    OPERATOR_REPLAY,
    OPERATOR_REPORT,
    OPERATOR_ROLL_BACK,
    OPERATOR_SERVE,
)
from tests.readme.examples.training import STUDY_ALL_THREE, STUDY_ONE_MORE, STUDY_TWO_METHODS
from tests.readme.terminal import Terminal

pytestmark = pytest.mark.slow


def test_they_begin_with_the_two_commands() -> None:
    demo, serve = (shlex.split(command, comments=True) for command in (MAKE_DEMO, MAKE_SERVE))
    assert shlex.split(OPERATOR_DEMO) == demo
    assert shlex.split(OPERATOR_SERVE) == shlex.split(DEVELOPER_SERVE) == serve


def test_an_operator_watches_a_week_and_rolls_back(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    assert "questions in week.jsonl" in terminal.run(OPERATOR_QUESTIONS)
    short = OPERATOR_REPLAY.replace("--minutes 2 --asked 200", f"--minutes 0.01 --asked 60 --url http://{address}")
    assert short != OPERATOR_REPLAY
    assert "60 answered" in terminal.run(short)
    report = send(terminal, OPERATOR_CALIBRATION, address)
    (version,) = report["models"]
    assert version["model"] == "quickstart@1"
    assert version["predictions"] >= 60
    assert version["verdict"]["state"]
    for one in send(terminal, OPERATOR_ERRORS, address)["predictions"]:
        assert one["confidence"] >= 0.9
        assert one["label"]["correct"] is False
    terminal.run(OPERATOR_REPORT)
    assert "quickstart@1" in (terminal.folder / "report.html").read_text("utf-8")
    history = send(terminal, OPERATOR_PROMOTIONS, address)
    assert history["aliases"] == {"production": 1}
    assert [one["version"] for one in history["promotions"]] == [1]
    terminal.run(OPERATOR_ROLL_BACK)
    assert send(terminal, OPERATOR_PROMOTIONS, address) == history


def test_a_developer_asks_abstains_and_reports(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    assert DEVELOPER_PROGRAM.count("127.0.0.1:8000") == 1
    first, second, last = terminal.run_python(DEVELOPER_PROGRAM.replace("127.0.0.1:8000", address)).splitlines()
    for line in (first, second):
        found = re.fullmatch(r"(.+) (0\.\d+) (\[.*\]|None)", line)
        assert found is not None, line
        assert (found[1] == "ask a person") is (float(found[2]) < 0.9)
    labels = re.fullmatch(r"(\d+) labels, (\d+) right", last)
    assert labels is not None
    assert int(labels[1]) >= max(2, int(labels[2]))


@pytest.mark.parametrize("terminal", [pytest.param(False, id="sh")], indirect=True)
def test_a_researcher_compares_three_methods(terminal: Terminal) -> None:
    terminal.run(STUDY_TWO_METHODS)
    folder = terminal.folder / "runs" / "tiny"
    assert len((folder / "rows.jsonl").read_text().splitlines()) == 2
    (run,) = (folder / "runs").glob("lora-*")
    terminal.run(STUDY_ONE_MORE)
    assert list((folder / "runs").glob("lora-*")) == [run]  # Laplace is fitted on it
    terminal.run(STUDY_ALL_THREE)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    report = (folder / "report.html").read_text("utf-8")
    assert len(rows) == 3
    assert all(label in report for label in ("lora", "uq4ct", "laplace"))
