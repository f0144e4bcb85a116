"""Layout, contrast and a quiet console, checked in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve

pytestmark = pytest.mark.slow
CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
OUTSIDE = """
return [...document.querySelectorAll('body *')]
  .filter(e => e.checkVisibility() && !e.closest('.scroll, .skip'))
  .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(e => `${e.tagName} ${e.className}`);
"""
LONG = "An_option_that_is_as_long_as_the_screen_of_a_phone_is_wide_and_has_no_place_where_it_could_be_broken"

every_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])


def show(page: Page, state: str) -> None:
    """Bring the page into a state: answered and labelled, rejected, or empty."""
    if state == "answer":
        page.one("#question-threshold").send_keys("0.99")
        page.ask("Which of these is the one that is meant?", LONG, "the other", "none of them")
        page.label(0)
        page.until_text("#answer .result", "Stored.")
        page.until_text("#calibration-body", "301 labels")
        page.one(".reliability summary").click()
    elif state == "error":
        page.ask("", "a", "a")
        page.until(lambda: page.all("#answer .problem"))
    else:
        page.choose("#calibration-model", "other@1")
        page.until_text("#calibration-body", "answered nothing")


@pytest.mark.usefixtures("labelled_ledger")
@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("state", ["answer", "error", "empty"])
def test_nothing_is_wider_than_the_screen(serve: Serve, page: Page, state: str, width: int) -> None:
    page.resize(width, 740)
    with serve() as address:
        page.open_loaded(address)
        show(page, state)
        assert page.run("const d = document.documentElement; return d.scrollWidth - d.clientWidth") == 0
        assert page.run(OUTSIDE) == []


@every_scheme
@pytest.mark.usefixtures("labelled_ledger")
@pytest.mark.parametrize("state", ["answer", "error", "empty"])
def test_everything_has_contrast(serve: Serve, page: Page, state: str, scheme: str) -> None:
    page.set_scheme(scheme)
    with serve() as address:
        page.open_loaded(address)
        show(page, state)
        found = page.run(CONTRAST)
    assert len(found) > 60
    assert [f"{what}: {ratio:.2f} of {needed}" for what, ratio, needed in found if ratio < needed] == []


def test_the_two_schemes_differ(serve: Serve, page: Page) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    with serve() as address:
        page.open(address)
        page.set_scheme("light")
        light = page.run(ground)
        page.set_scheme("dark")
        assert page.run(ground) != light


@pytest.mark.usefixtures("labelled_ledger")
def test_the_console_stays_quiet(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        show(page, "answer")
        show(page, "empty")
        assert page.console() == []
        page.run("console.error('heard')")
        assert "heard" in " ".join(page.console())
