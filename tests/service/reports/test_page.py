"""The calibration report in a real browser, on a phone, on paper and for screen readers, and its figures."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.axe import axe_violations
from tests.colours import DICHROMATS, contrast
from tests.drawn_texts import cut_texts, touching_ticks
from tests.page_layout import A4, print_page, too_wide_for_a_phone, too_wide_for_paper
from tests.service.page.browsing import Page, open_chromium
from tests.service.reports.conftest import ask_and_label, label_days, write
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.monitor import count_labels
from uq4ct.service.reports import figures
from uq4ct.service.reports.days import score_days

CONTRAST = 3.0  # of two series, and of a series with the white ground; WCAG 2.1, 1.4.11, for parts of a picture
DICHROMAT_CONTRAST = 2.5
HEADING_AND_TEXT = 50  # points: a heading and two lines


@pytest.fixture
def report(ledger: Database, store: Path, tmp_path: Path) -> Path:
    """The report of a version with references and of one with few labels."""
    ask_and_label(ledger, 600, days=12, version=3)
    ask_and_label(ledger, 40, days=2, model="other", version=1)
    count_labels(ledger, 0.05, lambda model, version: 0.3)
    path = tmp_path / "report.html"
    assert write(tmp_path, "--output", str(path), "--window", "30d").exit_code == 0
    return path


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with open_chromium(tmp_path / "chromium") as driver:
        yield Page(driver)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn from now on, measured before they become SVG."""
    found: list[Figure] = []

    def keep(figure: Figure, description: str) -> str:
        found.append(figure)
        assert (touching_ticks(figure), cut_texts(figure)) == ([], []), description
        return "<svg></svg>"

    monkeypatch.setattr(figures, "_to_svg", keep)
    return found


@pytest.mark.slow
def test_the_report_can_be_read_by_everybody(report: Path, page: Page) -> None:
    for scheme in ("light", "dark"):
        page.set_scheme(scheme)
        page.resize(390, 800)  # where tables scroll
        page.driver.get(report.as_uri())
        assert axe_violations(page.driver) == []


@pytest.mark.slow
def test_the_report_fits_a_phone_and_paper(report: Path, page: Page) -> None:
    page.driver.get(report.as_uri())
    assert too_wide_for_a_phone(page, ".wide") == []
    assert too_wide_for_paper(page) == []


@pytest.mark.slow
def test_the_printed_report_has_every_heading_with_what_follows(report: Path, page: Page) -> None:
    page.driver.get(report.as_uri())
    headings, sizes = print_page(page.driver)
    assert sizes == {A4}
    assert sorted(heading.text for heading in headings) == ["Calibration report", "other@1", "toy@3"]
    assert [heading for heading in headings if heading.height < HEADING_AND_TEXT] == []


@pytest.mark.slow
def test_every_text_of_every_figure_can_be_read(drawn: list[Figure], report: Path) -> None:
    assert report.is_file()
    assert len(drawn) == 12


@pytest.mark.parametrize("number", [1, 2, 5, 6, 7, 11, 12, 13, 30, 59, 60, 365])
def test_no_two_dates_touch(drawn: list[Figure], number: int) -> None:
    figures.draw_days(score_days(label_days(1, [50] * number)))
    (figure,) = drawn
    dates = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert dates[0] == f"{datetime.date(2026, 1, 1):%d %b}"
    assert len(dates) >= min(number, 4)


@pytest.mark.parametrize("dichromat", [None, *DICHROMATS])
def test_series_differ_in_lightness_for_every_reader(dichromat: str | None) -> None:
    least = CONTRAST if dichromat is None else DICHROMAT_CONTRAST
    for colours in ((figures.LIVE, figures.REFERENCE, "#ffffff"), (figures.LIVE, figures.GREY, "#ffffff")):
        assert min(contrast(one, other, dichromat) for one, other in itertools.combinations(colours, 2)) >= least


def test_no_two_lines_of_a_figure_share_a_marker_or_a_style(drawn: list[Figure], report: Path) -> None:
    assert report.is_file()
    several = 0
    for axes in (axes for figure in drawn for axes in figure.axes):
        lines = [line for line in axes.get_lines() if line.get_marker() != "_"]  # an end of an interval
        looks = [(line.get_marker(), line.get_linestyle(), line.get_color()) for line in lines]
        several += len(looks) > 1
        for part in zip(*looks, strict=True):
            assert len(set(part)) == len(part), looks
    assert several > 3
