"""The record of a run: what counts as failed, and that the file and the table agree."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.gpu.report import FORMAT, JSON_FILE, TABLE_FILE, Figure, Report, Row

MACHINE = {"device": "GPU X", "commit": "abc"}


@pytest.mark.parametrize(("figure", "holds"), [
    (Figure("x", 0.5, at_most=0.5), True), (Figure("x", 0.51, at_most=0.5), False),
    (Figure("x", 0.5, at_least=0.5), True), (Figure("x", 0.49, at_least=0.5), False),
    (Figure("x", 9.0), True), (Figure("x", math.nan), False), (Figure("x", math.nan, at_most=1.0), False),
    (Figure("x", math.inf, at_least=1.0), False),
])  # fmt: skip
def test_a_figure_holds_within_its_bounds(figure: Figure, holds: bool) -> None:
    assert figure.holds is holds


@pytest.mark.parametrize(("row", "result", "code", "lenient"), [
    (Row("p", "c", (Figure("x", 1.0, at_most=2.0), Figure("y", 3.0))), "passed", 0, 0),
    (Row("p", "c", (Figure("x", 1.0, at_most=2.0), Figure("y", 3.0, at_most=2.0))), "failed", 1, 1),
    (Row("p", "c", (Figure("x", 1.0),)), "measured", 0, 0),
    (Row("p", "c", error="RuntimeError: no"), "failed", 1, 1),
    (Row("p", "c", not_run="needs peft"), "not run", 1, 0),
    (Row("p", "c", not_run="needs a GPU", expected=True), "not run", 0, 0),
])  # fmt: skip
def test_the_exit_code_counts_what_failed_and_what_is_missing(row: Row, result: str, code: int, lenient: int) -> None:
    report = Report(MACHINE, [Row("p", "good", (Figure("x", 0.0, at_most=0.0),)), row])
    assert row.result == result
    assert report.exit_code(allow_missing=False) == code
    assert report.exit_code(allow_missing=True) == lenient


def test_the_file_and_the_table_have_the_same_numbers(tmp_path: Path) -> None:
    wrong = Figure("change", 0.0625, at_most=0.05)
    speed = Figure("speed", 1234567.0, "tokens/s")
    rows = [Row("forward", "a|b", (wrong, speed), 1.25, 512.4), Row("service", "all", not_run="needs fastapi")]
    Report(MACHINE, rows).write(tmp_path / "new")
    record = json.loads((tmp_path / "new" / JSON_FILE).read_text())
    assert record["format"] == FORMAT
    assert record["device"] == "GPU X"
    first, second = record["rows"]
    assert first["figures"][0] == {
        "name": "change", "value": 0.0625, "unit": "", "at_most": 0.05, "at_least": None, "holds": False,
    }  # fmt: skip
    assert (first["result"], second["result"]) == ("failed", "not run")
    *_, line, last = (tmp_path / "new" / TABLE_FILE).read_text().splitlines()
    assert line == (r"| forward | a\|b | failed | **change 0.0625** (≤ 0.05); speed 1,234,567 tokens/s | 1.2 | 512 |")
    assert last == "| service | all | not run | needs fastapi |  |  |"
    assert {file.name for file in (tmp_path / "new").iterdir()} == {JSON_FILE, TABLE_FILE}


def test_a_number_that_is_not_finite_is_valid_json() -> None:
    record = json.loads(Report(MACHINE, [Row("p", "c", (Figure("x", math.nan),))]).to_json())
    assert record["rows"][0]["figures"][0]["value"] is None
    assert record["rows"][0]["result"] == "failed"
