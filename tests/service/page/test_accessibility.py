"""The service's pages under the rules of axe-core, in both schemes."""

from __future__ import annotations

import pytest

from tests.axe import axe_violations
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve

pytestmark = pytest.mark.slow

every_scheme = pytest.mark.parametrize("scheme", ["light", "dark"])
every_width = pytest.mark.parametrize("width", [390, 1280])


@every_scheme
@every_width
@pytest.mark.usefixtures("labelled_ledger")
def test_the_page_with_an_answer_can_be_read_by_everybody(serve: Serve, page: Page, scheme: str, width: int) -> None:
    page.set_scheme(scheme)
    page.resize(width, 900)
    with serve() as address:
        page.open_loaded(address)
        page.ask("Which of these is the one that is meant?", "the first", "the second")
        page.one("#question-curl").click()
        page.run("for (const e of document.querySelectorAll('details')) e.open = true")
        page.until(lambda: page.all(".predictions .facts") and page.all(".promotions"))
        assert axe_violations(page.driver) == []


@every_scheme
@every_width
def test_the_documents_can_be_read_by_everybody(serve: Serve, page: Page, scheme: str, width: int) -> None:
    page.set_scheme(scheme)
    page.resize(width, 900)
    with serve() as address:
        page.driver.get(f"{address}/docs")
        page.until(lambda: page.all("details"))
        page.run("for (const e of document.querySelectorAll('details')) e.open = true")
        assert axe_violations(page.driver) == []


@every_scheme
@every_width
def test_the_runbook_can_be_read_by_everybody(serve: Serve, page: Page, scheme: str, width: int) -> None:
    page.set_scheme(scheme)
    page.resize(width, 900)
    with serve() as address:
        page.driver.get(f"{address}/runbook")
        assert page.all("h1")
        assert axe_violations(page.driver) == []
