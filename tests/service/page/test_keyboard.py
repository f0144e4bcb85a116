"""Every function of the page, by keyboard alone."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys

from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve
from uq4ct.model_store.storage.registry import Registry

pytestmark = pytest.mark.slow
ANNOUNCED = "return document.querySelector('#announcer').textContent"


def until_announced(page: Page, text: str) -> None:
    """Wait until screen readers are told this."""
    page.until(lambda: page.run(ANNOUNCED) == text)


@pytest.mark.usefixtures("labelled_ledger")
def test_watching_works_by_keyboard(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.tab_to("window")
        page.press(Keys.ARROW_UP)  # 24 hours
        page.until(lambda: "window=24h" in page.driver.current_url)
        page.tab_to("refresh")
        page.press(Keys.RETURN)
        until_announced(page, "Everything is up to date")
        page.tab_to("pause")
        page.press(Keys.SPACE)
        page.until(lambda: page.text("#as-of").endswith(", paused"))
        page.press(Keys.SPACE)
        page.tab_to("Copy")
        page.press(Keys.RETURN)
        page.until(
            lambda: page.run(ANNOUNCED) in ("Copied", "The browser does not let the page copy: the text is selected")
        )
        page.tab_to("Runbook")
        page.tab_to("calibration-model")
        page.press(Keys.ARROW_DOWN)
        page.until(lambda: "model=" in page.driver.current_url)
        page.press(Keys.ARROW_UP)
        page.until_text("#calibration-body", "300 labels")
        page.tab_to("calibration-compare")
        page.press("toy@1")
        page.tab_to("The history in numbers")
        page.press(Keys.RETURN)
        assert page.one(".timeline details").get_attribute("open") is not None
        page.tab_to("The bins in numbers")
        page.press(Keys.RETURN)
        page.until_text(".reliability table", "Mean confidence")
        page.tab_to("threshold-slider")
        page.press(Keys.HOME)
        assert page.text(".slider output") == "0.00"


@pytest.mark.usefixtures("labelled_ledger")
def test_predictions_and_models_work_by_keyboard(serve: Serve, page: Page, own_adapters: Registry) -> None:
    with serve(adapters=own_adapters) as address:
        page.open_loaded(address)
        page.tab_to("predictions-from")
        page.press("0.9", Keys.RETURN)
        page.until(lambda: "p-from=0.9" in page.driver.current_url)
        page.tab_to("predictions-clear")
        page.press(Keys.RETURN)
        page.until(lambda: "p-from" not in page.driver.current_url)
        page.tab_to("predictions-csv")
        page.press(Keys.RETURN)
        until_announced(page, "400 predictions saved as CSV")
        page.tab_to("Details")
        page.press(Keys.RETURN)
        page.until_text(".predictions .facts", "Probabilities")
        page.tab_to("predictions-next")
        page.press(Keys.RETURN)
        until_announced(page, "25 predictions")
        page.tab_to("predictions-first")
        page.press(Keys.RETURN)
        page.until(lambda: not page.one("#predictions-first").is_displayed())
        page.tab_to("models-search")
        page.press("toy", Keys.RETURN)
        until_announced(page, "2 models")
        page.tab_to("Promotions of toy")
        page.press(Keys.RETURN)
        page.until_text(".promotions", "production to version 1")
        page.tab_to("Promote to production: toy@2")
        page.press(Keys.RETURN)
        page.until(lambda: page.driver.switch_to.alert).accept()
        page.until_text("#models-result", "toy@2 is now the production version.")
        assert own_adapters.resolve("toy") == ("toy", 2)


def test_copying_and_taking_back_a_label_work_by_keyboard(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.tab_to("Ask")
        page.press(Keys.RETURN)
        page.tab_to("question-text")
        page.press("Which?")
        for option in ("A", "B"):
            page.tab_to(f"option-{'AB'.index(option)}")
            page.press(option)
        for _ in range(2):
            page.tab_to("Remove option C")
            page.press(Keys.RETURN)
        page.tab_to("question-python")
        page.press(Keys.RETURN)
        page.until_text("#question-snippet pre", 'client.predict("Which?", ["A","B"])')
        page.one("#question-send").send_keys(Keys.RETURN)
        page.until(lambda: page.all("#answer .chosen"))
        page.tab_to("A A")
        page.press(Keys.RETURN)
        page.until(lambda: page.driver.switch_to.active_element.text == "Undo")
        page.press(Keys.RETURN)
        until_announced(page, "Not stored")
        assert page.driver.switch_to.active_element.text == "A A"
