"""The page of the API in a real browser: complete, from the installation only, and under the page's policy."""

from __future__ import annotations

import httpx2
import pytest

from tests.service.access.key_holder import KeyHolder
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve

pytestmark = pytest.mark.slow


def test_every_operation_and_schema_is_shown_without_another_host(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.driver.get(f"{address}/docs")
        page.until(lambda: page.all("#schemas-body details"))
        document = httpx2.get(f"{address}/openapi.json").json()
        shown = [element.text for element in page.all("#operations-body summary code")]
        assert shown == [
            f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
        ]
        assert [element.text for element in page.all("#schemas-body summary code")] == sorted(
            document["components"]["schemas"], key=str.casefold
        )
        fetched = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        assert f"{address}/page/docs.js" in fetched
        assert [name for name in fetched if not name.startswith(address)] == []
        assert page.console() == []  # nothing that the policy blocked


def test_an_operation_leads_to_its_schemas(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.driver.get(f"{address}/docs")
        summaries = page.until(lambda: page.all("#operations-body summary"))
        (predict,) = [element for element in summaries if element.text.startswith("POST /predict ")]
        predict.click()
        texts = [element.text for element in page.all("#operations-body details[open]")]
        assert len(texts) == 1
        for part in ("Needs a key", "PredictResponse as application/json", "429", "Which metal is liquid"):
            assert part in texts[0]
        assert "prediction_set" not in texts[0]
        for code, part in (("200", '"prediction_set"'), ("404", "urn:uq4ct:problem:unknown-model")):
            (example,) = [one for one in page.all("#operations-body details[open] > details") if code in one.text]
            example.click()
            assert part in example.text
        page.one("#operations-body details[open] a[href='#schema-PredictRequest']").click()
        fields = page.until_text("#schema-PredictRequest[open]", "abstain_below")
        assert "options (required)" in fields
        assert "list (minItems 2, maxItems 26) of string (minLength 1)" in fields


def test_only_an_operation_that_needs_a_key_says_so(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.driver.get(f"{address}/docs")
        operations = page.until(lambda: page.all("#operations-body > details"))
        without = [one for one in operations if "Needs a key" not in (one.get_attribute("textContent") or "")]
        names = {one.find_element("css selector", "summary code").text for one in without}
        public = {"/health/live", "/health/ready", "/metrics", "/v2/health/live", "/v2/health/ready"}
        assert names == {f"GET {path}" for path in public}


def test_a_key_is_asked_for_where_the_document_needs_one(serve: Serve, page: Page, keys: KeyHolder) -> None:
    with serve(api_keys_file=keys.file, docs_need_key=True) as address:
        page.driver.get(f"{address}/docs")
        page.until(lambda: page.one("#key-text").is_displayed())
        assert page.all("#operations-body details") == []
        page.one("#key-text").send_keys(keys.key("k"))
        page.one("#key-form button[type=submit]").click()
        page.until(lambda: page.all("#operations-body details"))


def test_the_document_opened_in_the_browser_asks_for_the_key_and_then_shows_it(
    serve: Serve, page: Page, keys: KeyHolder
) -> None:
    with serve(api_keys_file=keys.file, docs_need_key=True) as address:
        page.driver.get(f"{address}/openapi.json#schema-Problem")
        page.until_text("#key-reason", "A valid API key is required")
        page.one("#key-text").send_keys(keys.key("k"))
        page.one("#key-form button[type=submit]").click()
        page.until(lambda: page.all("#operations-body details"))
        page.until_text("#schema-Problem[open]", "request_id")
        page.one("#docs-document").click()
        page.until(lambda: page.driver.current_url.startswith("blob:"))
        assert '"PredictRequest"' in page.driver.page_source


def test_without_keys_the_document_keeps_its_address(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.driver.get(f"{address}/docs")
        page.until(lambda: page.all("#operations-body details"))
        assert page.one("#docs-document").get_attribute("href") == f"{address}/openapi.json"
