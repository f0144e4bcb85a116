"""Helpers for the page's tests: open it, wait, press keys, and read texts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

T = TypeVar("T")
SECONDS = 20


@contextmanager
def open_chromium(profile: Path) -> Iterator[Chrome]:
    """Start headless Chromium with this profile folder; both programs are named, so that Selenium downloads none."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in programs.items() if path is None]
    assert not missing, f"{missing} missing: install Chromium (Debian: apt install chromium chromium-driver)"
    options = ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, ChromeService(programs["chromedriver"]))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """The page in a browser; elements are named by CSS selectors."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Load the page."""
        self.driver.get(f"{address}/")

    def open_loaded(self, address: str) -> None:
        """Load the page and wait until all of its parts are loaded."""
        self.open(address)
        self.until_loaded()

    def until_loaded(self) -> None:
        """Wait until everything is loaded and shown."""
        self.until_text("#as-of", "As of")

    def open_before(self, address: str, script: str) -> None:
        """Load the page after a script of the test."""
        command = "Page.addScriptToEvaluateOnNewDocument"
        added = self.driver.execute_cdp_cmd(command, {"source": script})
        self.open(address)
        self.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        (element,) = self.all(selector)
        return element

    def text(self, selector: str) -> str:
        """Return the visible text of one element."""
        return self.one(selector).text

    def until(self, condition: Callable[[], T | None]) -> T:
        """Wait until the condition is true and return its value."""
        wait = WebDriverWait(self.driver, SECONDS, 0.02, [StaleElementReferenceException])
        return wait.until(lambda _: condition())  # type: ignore[return-value]

    def until_text(self, selector: str, part: str) -> str:
        """Wait until exactly one element matches and contains `part`; return its text."""

        def found() -> str | None:
            texts = [element.text for element in self.all(selector)]
            return texts[0] if len(texts) == 1 and part in texts[0] else None

        return self.until(found)

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a select element."""
        Select(self.one(selector)).select_by_value(value)

    def press(self, *keys: str) -> None:
        """Send keys to the focused element."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def tab_to(self, name: str, limit: int = 200) -> None:
        """Press Tab until the element with this id, label or text has the focus."""
        for _ in range(limit):
            self.press(Keys.TAB)
            with suppress(StaleElementReferenceException):  # it is being drawn again
                element = self.driver.switch_to.active_element
                if name in (element.get_attribute("id"), element.get_attribute("aria-label"), element.text):
                    return
        raise AssertionError(f"{name} cannot be reached with the Tab key")

    def run(self, script: str, *arguments: Any) -> Any:
        """Return the result of a script."""
        return self.driver.execute_script(script, *arguments)

    def type_over(self, selector: str, text: str) -> None:
        """Replace the text of a field."""
        self.one(selector).clear()
        self.one(selector).send_keys(text)

    def label(self, option: int) -> None:
        """Report the right option of the answer, without the pause in which it could be taken back."""
        self.all("#answer .feedback button")[option].click()
        self.until(lambda: [button for button in self.all("#answer .result button") if button.text == "Store now"])
        self.all("#answer .result button")[1].click()

    def type_question(self, text: str, *options: str) -> None:
        """Fill in the form, with one row per option."""
        self.one("#question-text").send_keys(text)
        while len(self.all("#options input")) > len(options):
            self.all("#options button")[-1].click()
        for row, option in zip(self.all("#options input"), options, strict=True):
            row.send_keys(option)

    def ask(self, text: str, *options: str) -> None:
        """Ask a question and wait for the answer or a problem."""
        self.type_question(text, *options)
        self.one("#question-send").click()
        self.until(lambda: self.all("#answer .chosen") or self.all("#answer .problem"))

    def resize(self, width: int, height: int) -> None:
        """Set the viewport, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def set_scheme(self, scheme: str) -> None:
        """Set the preferred color scheme, `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def console(self) -> list[str]:
        """Return the browser's console messages since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
