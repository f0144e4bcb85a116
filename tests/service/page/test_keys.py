"""The key on the page: requested when required, kept in the tab, forgotten on demand."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.service.access.key_holder import KeyHolder
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve

pytestmark = pytest.mark.slow
STORED = "return [Object.values(sessionStorage), Object.values(localStorage), document.cookie]"


def give(page: Page, key: str) -> None:
    """Enter the key in the dialog."""
    page.until(lambda: page.one("#key-dialog").is_displayed())
    page.one("#key-text").send_keys(key, Keys.RETURN)


def open_without_key(page: Page, address: str) -> None:
    """Open the page and dismiss its dialog."""
    page.open(address)
    page.until(lambda: page.one("#key-dialog").is_displayed())
    page.press(Keys.ESCAPE)


def test_a_key_is_asked_for_until_it_is_right_and_forgotten_on_demand(
    serve: Serve, page: Page, keys: KeyHolder
) -> None:
    with serve(api_keys_file=keys.file) as address:
        page.open(address)
        page.until_text("#key-reason", "A valid API key is required")
        assert page.driver.switch_to.active_element == page.one("#key-text")
        give(page, "uq4ct_wrong")
        page.until_text("#key-reason", "the key is not valid")
        give(page, keys.key("k"))
        page.until_loaded()
        page.until_text("#calibration-body", "answered nothing")
        assert page.run(STORED) == [[keys.key("k")], [], ""]
        page.ask("Which?", "a", "b")
        page.until(lambda: page.all("#answer .chosen"))
        assert page.driver.current_url == f"{address}/"
        assert keys.key("k") not in page.driver.page_source
        asked = page.run("return performance.getEntriesByType('resource').map(r => r.name)")
        assert any(url.endswith("/predict") for url in asked)
        assert not [url for url in asked if "secret" in url]

        page.driver.refresh()  # the tab keeps it
        page.until_loaded()
        assert not page.one("#key-dialog").is_displayed()

        page.one("#key-forget").click()
        page.until_text("#key-reason", "A valid API key is required")
        assert page.run(STORED) == [[], [], ""]
        assert page.all("#models-body .card") == []


def test_no_key_is_asked_for_where_none_is_needed(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        assert not page.one("#key-dialog").is_displayed()
        assert page.run(STORED) == [[], [], ""]


def test_without_a_key_the_page_says_so_and_takes_one_later(serve: Serve, page: Page, keys: KeyHolder) -> None:
    with serve(api_keys_file=keys.file) as address:
        open_without_key(page, address)
        page.until_text("#status-body .problem", "A valid API key is required")
        page.one("#key-give").click()
        for refused, reason in (("", "empty"), ("two words", "no spaces"), ("schlüssel", "ASCII")):
            page.one("#key-text").clear()
            give(page, refused)
            page.until_text("#key-error", reason)
        page.one("#key-text").clear()
        give(page, keys.key("k"))
        page.until_loaded()


def test_a_key_that_a_question_brings_lets_everything_load(serve: Serve, page: Page, keys: KeyHolder) -> None:
    with serve(api_keys_file=keys.file) as address:
        open_without_key(page, address)
        for part in ("calibration", "threshold", "predictions", "models"):
            assert page.until_text(f"#{part}-body", "Not loaded") == "Not loaded: the reason is above."
        page.type_question("Which?", "a", "b")
        page.one("#question-send").click()
        give(page, keys.key("k"))
        page.until(lambda: page.all("#answer .chosen"))
        page.until_loaded()
        page.until_text("#calibration-body", "toy@")
        assert page.all(".problem:not([hidden])") == []


def test_a_key_without_the_scope_is_told_so(serve: Serve, page: Page, keys: KeyHolder) -> None:
    keys.new("predict", key_id="reader")
    with serve(api_keys_file=keys.file) as address:
        page.open(address)
        give(page, keys.key("reader"))
        page.until_loaded()
        page.ask("Which?", "a", "b")
        page.label(0)
        assert "lacks the scope feedback" in page.until_text("#answer .result", "The key lacks the required scope")
