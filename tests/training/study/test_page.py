"""The page of a study's report in a real browser: on a phone, on paper, and for screen readers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.axe import axe_violations
from tests.page_layout import A4, print_page, too_wide_for_a_phone, too_wide_for_paper
from tests.service.page.browsing import Page, open_chromium
from uq4ct.training.study.document import TableBlock
from uq4ct.training.study.page import write_page
from uq4ct.training.study.report import build_report
from uq4ct.training.study.results import Results

pytestmark = pytest.mark.slow
LONG_LABEL = "a-method-whose-label_has_no_place_where_it_can_be_broken"
TITLE_AND_ROW = 50  # points: a title and what must stay with it, a table's head and first row or a text of two lines


@pytest.fixture
def report(make_results: Callable[..., Results], tmp_path: Path) -> Path:
    """The report of two seeds with failed rows, and with words that have no place where they can be broken."""
    results = make_results(failed={"ensemble": f"RuntimeError: {'the loss is nan ' * 12}{'x' * 90}"})
    for key, row in results.finished.items():
        results.finished[key] = row.model_copy(update={"code_commit": f"{'0123abcd' * 5}+changes"})
    numbers = ["-0.123 ± 0.456\n[-0.333, +0.333]"] * 6
    wide = TableBlock("Long labels", tuple("abcdefg"), ((LONG_LABEL, *numbers),), "A caption.")
    write_page([*build_report(results), wide], tmp_path / "report.html")
    return tmp_path / "report.html"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with open_chromium(tmp_path / "chromium") as driver:
        yield Page(driver)


def test_the_report_can_be_read_by_everybody(report: Path, page: Page) -> None:
    for scheme in ("light", "dark"):
        page.set_scheme(scheme)
        page.resize(390, 800)  # where tables scroll
        page.driver.get(report.as_uri())
        assert axe_violations(page.driver) == []


def test_the_report_fits_a_phone_and_paper(report: Path, page: Page) -> None:
    page.driver.get(report.as_uri())
    assert too_wide_for_a_phone(page, ".scroll") == []
    assert too_wide_for_paper(page) == []


def test_the_printed_report_has_every_heading_with_what_follows(report: Path, page: Page) -> None:
    page.driver.get(report.as_uri())
    headings, sizes = print_page(page.driver)
    assert sizes == {A4}
    assert len(headings) == len(page.all("h1, h2, h3, h4"))
    assert [heading for heading in headings if heading.height < TITLE_AND_ROW] == []
