"""uq4ct calibration-report: the numbers of the ledger as a self-contained page and as JSON."""

from __future__ import annotations

import datetime
import html.parser
import json
import re
import time
from pathlib import Path

import pytest
import torch

from tests.service.ledger.conftest import id_of_age, insert, make_record
from tests.service.reports.conftest import ask_and_label, label_days, write
from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error
from uq4ct.model_store.uncertainty.squared_calibration_error import Confidences, squared_calibration_error
from uq4ct.service.client.calibration_records import Calibration
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import count_labels
from uq4ct.service.reports.days import score_days


class Page(html.parser.HTMLParser):
    """Parse a page and check that every opened element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.figures = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.figures += tag == "figure"
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.slow
def test_the_page_and_the_json_hold_the_numbers_of_the_ledger(ledger: Database, store: Path, tmp_path: Path) -> None:
    ask_and_label(ledger, 600, days=5, version=3)
    ask_and_label(ledger, 40, days=2, model="other", version=1)
    count_labels(ledger, 0.05, lambda model, version: 0.3)
    result = write(
        tmp_path, "--output", str(tmp_path / "r.html"), "--json", str(tmp_path / "r.json"), "--window", "30d"
    )
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'r.html'}: other@1, toy@3" in result.stderr
    written = json.loads((tmp_path / "r.json").read_text())
    few, many = Calibration.model_validate(written).models
    assert many.labelled is not None
    assert many.reference is not None
    assert many.reference.curve is not None
    assert few.labelled is not None
    page = Page((tmp_path / "r.html").read_text())
    assert page.open == []
    text = "".join(page.words)
    for number in (f"{many.labelled.ece:.3f}", f"{many.labelled.accuracy * 100:.1f} %", f"{many.labelled.gap_z:+.2f}"):
        assert number in text
    assert "600" in text
    assert "alarm since" in text
    alarms = ", ".join(test.test.replace("_", " ") for test in many.sequential if test.alarm)
    words = f"{many.verdict.state.replace('_', ' ')} (alarm: {alarms})"
    assert text.count(words) == 2  # in the overview and in the version's section
    assert f"Verdict: {words}." in text
    assert f"Only {few.labelled.questions} labels: too few" in text
    assert page.figures == 12
    # The page loads nothing from elsewhere.
    links = [value for name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert all(value is not None and value.startswith("#") for value in links)


def test_days_are_those_of_the_prediction(ledger: Database, store: Path, tmp_path: Path) -> None:
    ask_and_label(ledger, 300, days=3, version=3)
    assert write(tmp_path, "--json", str(tmp_path / "r.json")).exit_code == 0
    days = json.loads((tmp_path / "r.json").read_text())["days"]
    assert [day["first_day"] for day in days] == sorted({day["first_day"] for day in days})
    assert 2 <= len(days) <= 4  # the first day and today may be pooled with their neighbours
    assert min(day["questions"] for day in days) >= 50
    with ledger.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT date(created_ms / 1000, 'unixepoch'), confidence, correct FROM labels NATURAL JOIN predictions"
        ).all()
    assert sum(day["questions"] for day in days) == len(rows)
    for day in days:
        mine = [(p, bool(correct)) for date, p, correct in rows if day["first_day"] <= date <= day["last_day"]]
        confidence = torch.tensor([p for p, _ in mine], dtype=torch.float64)
        correct = torch.tensor([right for _, right in mine])
        assert (day["model"], day["questions"]) == ("toy@3", len(mine))
        assert day["accuracy"] == pytest.approx(correct.double().mean().item())
        assert day["ece"] == pytest.approx(expected_calibration_error(confidence, correct))
        squared = squared_calibration_error([Confidences(confidence, correct)])
        assert day["rms_calibration_error"] == pytest.approx(squared.root)
        assert day["rms_calibration_error_interval"]["high"] == pytest.approx(squared.root_interval.high)


@pytest.mark.parametrize(
    ("labels", "pools"),
    [
        ([60, 50, 70], [(1, 1, 60), (2, 2, 50), (3, 3, 70)]),
        ([20, 20, 20, 60], [(1, 3, 60), (4, 4, 60)]),
        ([60, 0, 0, 10, 45, 60], [(1, 1, 60), (4, 5, 55), (6, 6, 60)]),  # days without labels belong to no pool
        ([60, 60, 20, 29], [(1, 1, 60), (2, 4, 109)]),  # what is left at the end joins the last pool
        ([5, 4], [(1, 2, 9)]),  # all that there is
    ],
)
def test_days_with_few_labels_are_pooled(labels: list[int], pools: list[tuple[int, int, int]]) -> None:
    days = score_days(label_days(1, labels)[::-1])
    assert [(day.first_day.day, day.last_day.day, day.questions) for day in days] == pools


def test_each_version_has_its_own_days() -> None:
    days = score_days([*label_days(2, [49, 49]), *label_days(10, [50, 50])])
    assert [(day.model, day.questions) for day in days] == [("toy@2", 98), ("toy@10", 50), ("toy@10", 50)]


def test_a_year_of_sparse_labels_takes_a_second() -> None:
    """Twelve versions, each with 4 labels on every day: by day, 4,380 scores; pooled, 336."""
    scored = [row for version in range(1, 13) for row in label_days(version, [4] * 365)]
    start = time.thread_time()
    days = score_days(scored)
    assert len(days) == 12 * 28
    assert time.thread_time() - start < 3


def test_the_page_says_that_days_are_pooled(ledger: Database, store: Path, tmp_path: Path) -> None:
    ask_and_label(ledger, 80, days=4, version=3)
    assert write(tmp_path, "--output", str(tmp_path / "r.html")).exit_code == 0
    text = "".join(Page((tmp_path / "r.html").read_text()).words)
    assert "days are pooled until there are at least 50 labels" in text


def test_a_report_of_one_version_without_labels(ledger: Database, store: Path, tmp_path: Path) -> None:
    insert(ledger, make_record(version=9, feu=None), make_record(model="other"))
    page = tmp_path / "r.html"
    assert write(tmp_path, "--output", str(page), "--model", "toy@9").exit_code == 0
    found = Page(page.read_text())
    text = "".join(found.words)
    assert "No labels yet" in text
    assert "other@1" not in text
    assert found.figures == 1  # only the shape of the confidence


def test_since_sets_the_start(ledger: Database, store: Path, tmp_path: Path) -> None:
    insert(ledger, *(make_record(prediction_id=id_of_age(days)) for days in (0.1, 3, 20, 50)))
    for since, expected in ((10, 2), (30, 3)):
        day = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=since)).date().isoformat()
        assert write(tmp_path, "--json", str(tmp_path / "r.json"), "--since", day).exit_code == 0
        assert json.loads((tmp_path / "r.json").read_text())["models"][0]["predictions"] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to write: set --output FILE.html, --json FILE or both"),
        (
            ["--json", "r.json", "--window", "7w"],
            "--window must be a number followed by s, m, h or d, such as 24h or 7d (got '7w')",
        ),
        (["--json", "r.json", "--window", "7d", "--since", "2026-01-01"], "exclude each other: set only one"),
        (["--json", "r.json", "--since", "yesterday"], "--since must be a date or a time such as 2026-01-31T08:00"),
        (["--json", "r.json", "--since", "2999-01-01"], "--since 2999-01-01 is in the future"),
        (["--json", "r.json", "--model", "Toy!"], "--model must be name or name@version (got 'Toy!')"),
        (
            ["--json", "r.json", "--model", "tony"],
            "--model tony has no predictions since .*; these versions have: toy@1",
        ),
        (["--json", "/nowhere/r.json"], "No such file or directory: '/nowhere/"),
    ],
)
def test_invalid_arguments_are_reported(
    ledger: Database, store: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    insert(ledger, make_record())
    result = write(tmp_path, *arguments)
    assert result.exit_code == 1
    assert re.search(message if ".*" in message else re.escape(message), result.stderr), result.stderr


def test_an_empty_ledger_is_reported(ledger: Database, store: Path, tmp_path: Path) -> None:
    for arguments in ([], ["--model", "toy"]):
        result = write(tmp_path, "--output", str(tmp_path / "r.html"), *arguments)
        assert result.exit_code == 1
        assert "the ledger has no predictions since" in result.stderr
        assert not (tmp_path / "r.html").exists()
