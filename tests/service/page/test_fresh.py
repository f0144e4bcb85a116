"""The page loads again by itself, keeps what it has while the service is away, and comes back."""

from __future__ import annotations

import httpx2
import pytest
from selenium.webdriver.common.keys import Keys

from tests.service.ledger.conftest import insert, make_record
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database

pytestmark = pytest.mark.slow
# A fetch that fails while `window.away` is true, and counts its calls.
AWAY = """
const real = window.fetch;
window.away = arguments[0]; window.calls = 0;
window.fetch = (...request) => {
  window.calls += 1;
  return window.away ? Promise.reject(new TypeError('gone')) : real(...request);
};
"""
# Pauses last a hundredth of their time, and are listed.
HURRY = """
const real = window.setTimeout;
window.pauses = [];
window.setTimeout = (work, pause) => { window.pauses.push(pause); return real(work, pause / 100); };
"""


@pytest.mark.usefixtures("labelled_ledger")
def test_what_is_shown_stays_while_the_service_is_away(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        shown = {part: page.text(f"#{part}-body") for part in ("calibration", "threshold", "models", "predictions")}
        page.run(AWAY, True)
        page.one("#refresh").click()
        banner = page.until_text("#banner-text", "The service cannot be reached")
        assert "What is shown is of " in banner
        assert page.text("#as-of")[6:] in banner
        assert {part: page.text(f"#{part}-body") for part in shown} == shown
        assert page.run("return getComputedStyle(document.querySelector('.states li'), '::before').content") == '"was "'
        page.run("window.away = false")
        page.until(lambda: not page.one("#banner").is_displayed())  # it tries again after 2 s
        announced = "return document.querySelector('#announcer').textContent === 'The service can be reached again'"
        assert page.run(announced)


def test_the_pauses_between_attempts_grow(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.run(HURRY)
        page.run(AWAY, True)
        page.one("#refresh").click()
        page.until(lambda: page.run("return window.pauses.length >= 7"))
        assert page.run("return window.pauses.slice(0, 7)") == [2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]


def test_the_page_loads_again_by_itself_unless_it_is_paused(serve: Serve, page: Page, ledger: Database) -> None:
    with serve() as address:
        page.open_loaded(address)
        assert "answered nothing" in page.text("#calibration-body")
        page.run(HURRY)
        page.one("#refresh").click()
        page.until(lambda: page.run("return window.pauses.includes(30000)"))
        insert(ledger, make_record(tenant="default"))
        page.until_text("#calibration-body", "No labels yet.")
        page.one("#pause").click()
        assert page.text("#as-of").endswith(", paused")
        assert page.one("#pause").get_attribute("aria-pressed") == "true"
        page.run(AWAY, False)
        page.run("return new Promise(resolve => setTimeout(resolve, 100_000))")  # a second, in a hurry
        assert page.run("return window.calls") == 0
        page.one("#pause").click()
        page.until(lambda: page.run("return window.calls > 0"))


def test_a_service_that_is_away_from_the_start_is_no_loading_for_ever(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_before(address, AWAY.replace("arguments[0]", "true"))
        banner = page.until_text("#banner-text", "The service cannot be reached: gone. Nothing has been loaded yet.")
        assert "tries again by itself" in banner
        assert "Loading" not in page.text("main")
        page.run("window.away = false")
        page.one("#banner-retry").click()
        page.until_loaded()
        page.until(lambda: not page.one("#banner").is_displayed())


def test_an_empty_store_says_what_to_do(serve: Serve, page: Page, own_adapters: Registry) -> None:
    with serve(adapters=own_adapters) as address:
        page.open_before(
            address,
            """
            const real = window.fetch;
            const empty = {models: {models: [], damaged: [], next: null}, status: {default_model: null}};
            window.fetch = async (...request) => {
              const answer = await real(...request);
              const name = new URL(request[0]).pathname.slice(1);
              return name in empty ? Response.json({...await answer.json(), ...empty[name]}) : answer;
            };
            """,
        )
        page.until_text("#models-body", "No model is registered. Publish one: uq4ct publish.")
        page.until_text("#calibration-body", "No model is registered.")
        assert "Loading" not in page.text("main")


@pytest.mark.usefixtures("labelled_ledger")
def test_a_refresh_leaves_the_focus_and_what_is_open(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.one(".reliability summary").click()
        slider = page.one("#threshold-slider")
        slider.send_keys(Keys.HOME)
        page.run("document.querySelector('.reliability table').remove()")  # until it is drawn again
        page.run("document.dispatchEvent(new Event('visibilitychange'))")
        page.until(lambda: page.all(".reliability table"))
        assert page.one(".reliability details").get_attribute("open") is not None
        page.until(lambda: page.run("return document.activeElement.id") == "threshold-slider")
        assert page.one("#threshold-slider").get_attribute("value") == "0"


@pytest.mark.usefixtures("labelled_ledger")
def test_the_view_is_in_the_address(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        assert page.driver.current_url == f"{address}/"
        page.choose("#window", "24h")
        page.choose("#calibration-model", "toy@2")
        page.choose("#calibration-compare", "toy@1")
        page.until_text("#calibration-body", "300 labels")
        page.choose("#predictions-label", "correct=false")
        page.type_over("#predictions-from", "0.9")
        page.one("#predictions-apply").click()
        link = "window=24h&model=toy%402&compare=toy%401&p-from=0.9&p-label=correct%3Dfalse"
        page.until(lambda: page.driver.current_url == f"{address}/?{link}")
        query = {"window": "24h", "confidence_from": 0.9, "correct": False}
        rows = len(httpx2.get(f"{address}/predictions", params=query).json()["predictions"])
        page.until(lambda: 0 < len(page.all("#predictions-body tbody tr")) == rows < 25)
        page.driver.refresh()
        page.until_text("#as-of", "As of")
        values = ("#window", "#calibration-model", "#calibration-compare", "#predictions-from", "#predictions-label")
        assert [page.run("return document.querySelector(arguments[0]).value", one) for one in values] == [
            "24h", "toy@2", "toy@1", "0.9", "correct=false",
        ]  # fmt: skip
        assert len(page.all("#predictions-body tbody tr")) == rows
        page.choose("#window", "7d")  # the usual window is not written
        page.until(lambda: "window" not in page.driver.current_url)
