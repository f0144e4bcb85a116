"""Find predictions by filters, page through them, read one, and save them as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import httpx2
import pytest
from selenium.webdriver.common.keys import Keys

from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve
from uq4ct.service.ledger import listing
from uq4ct.service.ledger.database import Database

pytestmark = pytest.mark.slow
ROWS = """
return [...document.querySelectorAll('.predictions tbody tr')]
  .map(row => [...row.children].slice(0, 7).map(cell => cell.textContent));
"""
# Keeps the text of a file that the page would have the browser save.
CATCH = """
const make = URL.createObjectURL;
URL.createObjectURL = blob => { blob.text().then(text => { window.saved = text; }); return make(blob); };
"""


@pytest.fixture
def sixty(ledger: Database) -> Database:
    """Sixty predictions of two tasks, of which every third has a label."""
    for number in range(60):
        record = make_record(
            prediction_id=id_of_age(number / 24 + 0.001),
            tenant="default",
            task="law" if number % 2 else "physics",
            confidence=0.5 + number / 200,
            tags=("=cmd", "batch 7") if number == 3 else (),
        )
        insert(ledger, record)
        if number % 3 == 0:
            insert_label(ledger, record, record.option if number % 2 else 1 - record.option)
    return ledger


def asked(address: str, **query: Any) -> list[list[str]]:
    """Return the rows that the page must show."""
    found = httpx2.get(f"{address}/predictions", params={"window": "7d", "limit": 200, **query}).json()["predictions"]
    return [
        [
            f"{one['created_at'][:16].replace('T', ' ')} UTC",
            one["model"],
            one["task"],
            one["option"]["label"],
            f"{one['confidence']:.3f}",
            "no",
            "none" if one["label"] is None else "right" if one["label"]["correct"] else "wrong, A",
        ]
        for one in found
    ]


def until_rows(page: Page, rows: list[list[str]]) -> None:
    """Wait until exactly these rows are shown."""
    page.until(lambda: page.run(ROWS) == rows)


@pytest.mark.usefixtures("sixty")
def test_the_filters_show_what_the_api_finds(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        until_rows(page, asked(address)[:25])
        page.one("#predictions-task").send_keys("law")
        page.choose("#predictions-label", "labelled=true")
        page.one("#predictions-apply").click()
        until_rows(page, asked(address, task="law", labelled=True))
        page.one("#predictions-clear").click()
        until_rows(page, asked(address)[:25])
        page.one("#predictions-from").send_keys("0.6")
        page.one("#predictions-to").send_keys("0.7", Keys.RETURN)
        until_rows(page, asked(address, confidence_from=0.6, confidence_to=0.7))
        page.type_over("#predictions-to", "0.2")
        page.one("#predictions-apply").click()
        assert "must be at least confidence_from, 0.6 (got 0.2)" in page.until_text(
            "#predictions-to + .field-error", "at"
        )
        assert page.driver.switch_to.active_element == page.one("#predictions-to")
        page.one("#predictions-clear").click()
        page.choose("#predictions-abstain", "true")
        page.one("#predictions-apply").click()
        page.until_text("#predictions-body", "No prediction since")


@pytest.mark.usefixtures("sixty")
def test_older_predictions_are_on_further_pages(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        everything = asked(address)
        until_rows(page, everything[:25])
        page.one("#predictions-next").click()
        until_rows(page, everything[25:50])
        page.one("#refresh").click()  # an older page stays
        page.until(
            lambda: page.run("return document.querySelector('#announcer').textContent") == "Everything is up to date"
        )
        assert page.run(ROWS) == everything[25:50]
        page.one("#predictions-next").click()
        until_rows(page, everything[50:])
        assert not page.one("#predictions-next").is_displayed()
        page.one("#predictions-first").click()
        until_rows(page, everything[:25])


@pytest.mark.usefixtures("sixty")
def test_pages_that_found_nothing_are_skipped(serve: Serve, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_READ", 4)
    with serve() as address:
        page.open_loaded(address)
        page.one("#predictions-from").send_keys("0.78")
        page.one("#predictions-apply").click()
        page.until(lambda: [row[4] for row in page.run(ROWS)] == ["0.780", "0.785", "0.790", "0.795"])


@pytest.mark.usefixtures("sixty")
def test_the_details_tell_the_history_of_a_prediction(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.until(lambda: page.run(ROWS))
        stored = httpx2.get(f"{address}/predictions", params={"window": "7d"}).json()["predictions"][0]
        page.all(".predictions summary")[0].click()
        words = page.until_text(".predictions tr:first-child .facts", stored["prediction_id"])
        assert f"Answered\n{stored['created_at'][:16].replace('T', ' ')} UTC\nby toy@1, uq4ct" in words
        assert "The right option is A." in words
        assert "Tenant\ndefault" in words
        page.one("#refresh").click()
        page.until(
            lambda: page.run("return document.querySelector('#announcer').textContent") == "Everything is up to date"
        )
        assert stored["prediction_id"] in page.text(".predictions tr:first-child .facts")  # stays open


@pytest.mark.usefixtures("sixty")
def test_the_csv_file_has_everything_that_the_filters_select(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.run(CATCH)
        page.one("#predictions-task").send_keys("law")
        page.one("#predictions-csv").click()
        saved = page.until(lambda: page.run("return window.saved"))
        found = httpx2.get(f"{address}/predictions", params={"window": "7d", "task": "law", "limit": 200}).json()
    rows = list(csv.DictReader(io.StringIO(saved, newline="")))
    assert len(rows) == 30
    for row, one in zip(rows, found["predictions"], strict=True):
        assert (row["prediction_id"], row["tenant"], row["model"]) == (one["prediction_id"], "default", "toy@1")
        assert float(row["confidence"]) == one["confidence"]
        assert row["label"] == (one["label"]["option"]["label"] if one["label"] else "")
        assert row["correct"] == ({True: "true", False: "false"}[one["label"]["correct"]] if one["label"] else "")
    assert [row["tags"] for row in rows if row["tags"]] == ["'=cmd batch 7"]  # no formula for a spreadsheet
