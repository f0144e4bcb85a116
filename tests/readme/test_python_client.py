"""Run the READMEs' Python examples as written."""

from __future__ import annotations

import csv

import pytest

from tests.readme.curl import count_labels, send
from tests.readme.examples.root import PYTHON_CLIENT as SHORT_CLIENT
from tests.readme.examples.service import CALIBRATION, PYTHON_CLIENT, PYTHON_CSV, PYTHON_PREDICTOR
from tests.readme.examples.training import CSV_FILE
from tests.readme.terminal import Terminal

pytestmark = pytest.mark.slow  # one more service

OPTIONS = {"Madrid", "Paris", "Oslo", "Vienna"}


def _at(script: str, address: str) -> str:
    assert script.count("127.0.0.1:8000") == 1
    return script.replace("127.0.0.1:8000", address)


def test_the_example_asks_falls_back_and_tells_the_label(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    before = count_labels(send(terminal, CALIBRATION, address))
    answered, fell_back = terminal.run_python(_at(PYTHON_CLIENT, address)).splitlines()
    option, confidence = answered.rsplit(" ", 1)
    assert option in OPTIONS
    by, *_ = fell_back.split(" ", 1)
    assert by == ("service" if float(confidence) >= 0.9 else "fallback")
    assert count_labels(send(terminal, CALIBRATION, address)) == before + 1


def test_a_csv_file_is_answered_in_four_lines_and_continued(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    assert len(PYTHON_CSV.splitlines()) == 4
    (terminal.folder / "questions.csv").write_text(f"{CSV_FILE}\n")
    assert terminal.run_python(_at(PYTHON_CSV, address)) == "CsvReport(rows=2, kept=0, errors=0)\n"
    answers = terminal.folder / "answers.csv"
    whole = answers.read_text()
    first, second = csv.DictReader(whole.splitlines())
    assert first["predicted"] in {"Madrid", "Paris", "Oslo"}
    assert second["predicted"] in {"yes", "no"}
    answers.write_text(whole[: whole.rindex(second["question"])])
    assert terminal.run_python(_at(PYTHON_CSV, address)) == "CsvReport(rows=2, kept=1, errors=0)\n"
    assert answers.read_text() == whole, "its key finds the earlier answer"


def test_the_short_example_asks(open_service: tuple[Terminal, str]) -> None:
    terminal, address = open_service
    option, confidence = terminal.run_python(_at(SHORT_CLIENT, address)).rsplit(" ", 1)
    assert option in OPTIONS
    assert 0.25 <= float(confidence) <= 1


def test_a_stored_model_answers_without_a_service(stocked: Terminal) -> None:
    option, confidence = stocked.run_python(PYTHON_PREDICTOR).splitlines()[-1].rsplit(" ", 1)
    assert option in OPTIONS
    assert 0.25 <= float(confidence) <= 1
