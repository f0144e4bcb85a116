"""The first screen: what serves, whether it is calibrated, since when, and what to do."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.service.access.key_holder import KeyHolder
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve
from tests.service.page.shifted import SHIFTED, fill_shifted
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database

pytestmark = pytest.mark.slow
IN_VIEW = """
const box = document.querySelector(arguments[0]).getBoundingClientRect();
return box.top >= 0 && box.bottom <= window.innerHeight && box.right <= window.innerWidth;
"""


@pytest.fixture
def shifted_ledger(ledger: Database) -> Database:
    """Six days of toy@1 and toy@2, with a shift that makes toy@2 overconfident."""
    fill_shifted(ledger, "toy")
    return ledger


@pytest.fixture
def promoted(own_adapters: Registry) -> Registry:
    """A store whose production version was toy@1 and is toy@2."""
    own_adapters.promote("toy", 2)
    return own_adapters


def until_counted(address: str, page: Page) -> dict[str, str]:
    """Wait until the sequential tests have counted every label; return the alarm of toy@2."""

    def alarm() -> dict[str, str] | None:
        report = httpx2.get(f"{address}/calibration", params={"window": "7d"}).json()
        counted = {one["model"]: one["sequential"][0]["labels"] for one in report["models"] if one["sequential"]}
        if counted != {one["model"]: one["labelled"]["questions"] for one in report["models"]}:
            return None
        (found,) = [one for one in report["alarms"] if one["test"] == "overconfident"]
        return found

    page.open(address)
    return page.until(alarm)


@pytest.mark.usefixtures("shifted_ledger")
def test_a_stranger_sees_in_a_minute_what_serves_and_what_to_do(serve: Serve, page: Page, promoted: Registry) -> None:
    page.resize(1440, 900)
    with serve(adapters=promoted) as address:
        alarm = until_counted(address, page)
        page.open_loaded(address)
        (card,) = [card for card in page.all("#status-body .card") if card.text.startswith("toy@2")]
        (cohort,) = httpx2.get(f"{address}/calibration", params={"window": "7d", "model": "toy@2"}).json()["models"]
        labelled = cohort["labelled"]
        words = card.text.replace("\xa0", " ")
        assert alarm["model"] == "toy@2"
        raised = datetime.fromisoformat(alarm["alarmed_at"])
        assert timedelta(0) < raised - (datetime.now(UTC) - timedelta(days=SHIFTED)) < timedelta(days=1)
        assert f"Overconfident since {raised:%Y-%m-%d %H:%M} UTC or earlier" in words
        assert "default\nproduction" in words
        assert (
            f"Mean confidence {labelled['mean_confidence']:.3f}, accuracy {labelled['accuracy']:.3f} "
            f"on {labelled['questions']:,} labels of {cohort['predictions']:,} predictions since"
        ) in words
        assert "Roll back to version 1: uq4ct promote toy 1" in words
        assert "In production since" in words
        assert "before it version 1" in words
        for selector in ("#alarms", "#status-body .card.off", "#status-body .card.off .copyable", "#replica"):
            assert page.run("return scrollY") == 0
            assert page.run(IN_VIEW, selector), selector
        sound = [card for card in page.all("#status-body .card") if card.text.startswith("toy@1")]
        assert "good" in (sound[0].get_attribute("class") or "")
        card.find_element("css selector", ".to-do a").click()
        assert "SequentialAlarm" in page.until(
            lambda: page.run("return document.querySelector(':target')?.textContent")
        )


def test_a_version_without_a_predecessor_gets_another_command(
    serve: Serve, page: Page, shifted_ledger: Database
) -> None:
    with serve() as address:
        until_counted(address, page)
        page.open_loaded(address)
        words = page.text("#status-body .card.off")
    assert "uq4ct calibration-report --model toy@2 --output report.html" in words


@pytest.mark.usefixtures("shifted_ledger")
def test_no_rollback_leads_to_a_version_with_an_alarm(serve: Serve, page: Page, promoted: Registry) -> None:
    promoted.promote("toy", 1)
    promoted.promote("toy", 2)  # so that either version was in production before the other
    script = """
    const real = window.fetch;
    window.fetch = async (...request) => {
      const answer = await real(...request);
      if (new URL(request[0]).pathname !== '/calibration') return answer;
      const report = await answer.json();
      const alarms = report.alarms.flatMap(alarm => [alarm, {...alarm, model: 'toy@1'}]);
      return Response.json({...report, alarms});
    };
    """
    with serve(adapters=promoted) as address:
        until_counted(address, page)
        page.open_before(address, script)
        page.until_loaded()
        (card,) = page.all("#status-body .card.off")
        assert card.text.startswith("toy@2")
        assert "uq4ct calibration-report --model toy@2" in card.text
        assert "uq4ct promote" not in card.text


def test_many_alarms_leave_the_first_screen_in_place(serve: Serve, page: Page) -> None:
    alarms = [
        {
            "model": f"toy@{9 - number}",
            "test": "overconfident",
            "alarmed_at": f"2026-01-0{9 - number}T00:00:00Z",
            "labels": 9,
        }
        for number in range(8)
    ]
    script = """
    const real = window.fetch;
    window.fetch = async (...request) => {
      const answer = await real(...request);
      const isReport = new URL(request[0]).pathname === '/calibration';
      return isReport ? Response.json({...await answer.json(), alarms: ALARMS}) : answer;
    };
    """
    with serve() as address:
        page.open_before(address, script.replace("ALARMS", json.dumps(alarms)))
        page.until(lambda: page.all("#alarms-list li"))
        assert [item.text[:5] for item in page.all("#alarms-list li")] == [f"toy@{9 - number}" for number in range(5)]
        assert page.text("#alarms-more") == "3 earlier alarms"
        page.one("#alarms-more summary").click()
        assert len(page.all("#alarms-more li")) == 3


def test_a_default_model_that_has_not_answered_is_shown(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        assert re.match(r"toy@1\ndefault\nHas answered nothing since \d{4}-", page.text("#status-body .card"))


def test_the_replica_tells_its_queue_and_its_speed(serve: Serve, page: Page) -> None:
    with serve(max_concurrent_requests=77) as address:
        page.open_loaded(address)
        assert page.text("#replica").startswith(
            "This replica: ready, 0 of 77 places in the queue taken, no request answered in the last 5 minutes."
        )
        page.ask("Which?", "a", "b")
        page.one("#refresh").click()
        words = page.until_text("#replica", "over 1 request of the last 5 minutes")
        assert re.search(r"median \d+ ms, 95th percentile \d+ ms over", words)


@pytest.mark.usefixtures("shifted_ledger")
def test_the_history_shows_what_changed_when(serve: Serve, page: Page, promoted: Registry) -> None:
    with serve(adapters=promoted) as address:
        alarm = until_counted(address, page)
        page.open_loaded(address)
        history = httpx2.get(
            f"{address}/calibration/history", params={"window": "7d", "model": "toy", "points": 42}
        ).json()
        page.until(lambda: page.all(".timeline .change"))
        changes = [change.text for change in page.all(".timeline .change text")]
        # The store of the tests was made just now.
        assert changes == ["toy@2: overconfident", "toy@1 promoted", "toy@2 promoted"]
        page.one(".timeline summary").click()
        assert [one["model"] for one in history["models"]] == ["toy@1", "toy@2"]
        for version in history["models"]:
            rows = page.run(
                "return [...document.querySelectorAll(`[aria-label='Over time: ${arguments[0]}'] tbody tr`)]"
                ".map(row => [...row.children].map(cell => cell.textContent))",
                version["model"],
            )
            assert [row[1:] for row in rows] == [
                [
                    f"{point['predictions']:,}",
                    f"{point['labelled']:,}",
                    *(["", "", ""] if point["accuracy"] is None else [
                        f"{point['mean_confidence']:.3f}",
                        f"{point['accuracy']:.3f}",
                        f"{point['accuracy_interval']['low']:.3f} to {point['accuracy_interval']['high']:.3f}",
                    ]),
                ]
                for point in version["points"]
            ]  # fmt: skip
            assert len(page.all(f".timeline .marks.version-{version['model'][-1:] == '2':d} > g")) == sum(
                point["accuracy"] is not None for point in version["points"]
            )
        x = page.run("return Number(document.querySelector('.change.alarm line').getAttribute('x1'))")
        begin, end = (datetime.fromisoformat(history[name]).timestamp() for name in ("since", "until"))
        at = datetime.fromisoformat(alarm["alarmed_at"]).timestamp()
        assert x == pytest.approx(60 + 824 * (at - begin) / (end - begin), abs=1)


@pytest.mark.usefixtures("shifted_ledger")
def test_two_versions_are_shown_side_by_side(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.choose("#calibration-compare", "toy@2")
        page.until(lambda: len(page.all("#calibration-body .reliability")) == 2)
        assert [title.text for title in page.all("#calibration-body h3")] == ["toy@1", "toy@2"]
        left, right = (box.rect for box in page.all("#calibration-body .reliability"))
        assert left["y"] == pytest.approx(right["y"], abs=2)
        assert left["x"] + left["width"] <= right["x"]


@pytest.mark.usefixtures("shifted_ledger")
def test_a_tenant_sees_its_own_numbers_only(serve: Serve, page: Page, keys: KeyHolder) -> None:
    header = keys.new("predict", key_id="library", tenant="library")
    with serve(api_keys_file=keys.file) as address:
        page.open(address)
        page.until(lambda: page.one("#key-dialog").is_displayed())
        page.one("#key-text").send_keys(keys.key("library"))
        page.one("#key-form button[type=submit]").click()
        page.until_text("#as-of", "As of")
        report = httpx2.get(f"{address}/calibration", params={"window": "7d"}, headers=header).json()
        cards = {card.text.split("\n")[0]: card.text for card in page.all("#status-body .card")}
        assert set(cards) == {one["model"] for one in report["models"]} == {"toy@1", "toy@2"}
        for one in report["models"]:
            assert one["predictions"] < 400
            assert (
                f"on {one['labelled']['questions']} labels of {one['predictions']} predictions" in cards[one["model"]]
            )
        assert len(page.all("#alarms-list li")) == len(report["alarms"])
        page.all(".predictions summary")[0].click()
        assert "Tenant\nlibrary" in page.until_text(".predictions tr:first-child .facts", "Tenant")
        assert not page.one("#predictions-tenant-field").is_displayed()


def test_only_who_may_promote_is_offered_it_and_sees_it_happen(
    serve: Serve, page: Page, promoted: Registry, keys: KeyHolder
) -> None:
    keys.new("admin", key_id="boss")
    with serve(adapters=promoted, api_keys_file=keys.file, default_model="toy@1") as address:
        for key, offered in (("k", False), ("boss", True)):
            page.open(address)
            page.until(lambda: page.one("#key-dialog").is_displayed())
            page.one("#key-text").send_keys(keys.key(key))
            page.one("#key-form button[type=submit]").click()
            page.until_loaded()
            assert bool(page.all("#models-body .card > button")) is offered
            assert page.one("#predictions-tenant-field").is_displayed() is offered
            if not offered:
                page.one("#key-forget").click()
        page.one("[aria-label='Promote to production: toy@1']").click()
        page.driver.switch_to.alert.dismiss()
        time.sleep(0.2)
        assert promoted.resolve("toy") == ("toy", 2)
        page.one("[aria-label='Promote to production: toy@1']").click()
        page.driver.switch_to.alert.accept()
        page.until_text("#models-result", "toy@1 is now the production version.")
        assert promoted.resolve("toy") == ("toy", 1)
        assert page.driver.switch_to.active_element == page.one("#models-result")
        page.until(lambda: page.all("[aria-label='Promote to production: toy@2']"))
        page.all("#models-body .card summary")[1].click()
        times = r"[\d-]{10} [\d:]{5} UTC"
        words = page.until_text(".promotions", "before it 2")
        assert re.sub(times, "T", words).split("\n") == [
            "T: production to version 1, before it 2",
            "T: production to version 2, before it 1 Roll back to 2",
            "T: staging to version 2",
            "T: production to version 1",
        ]
        page.one("[aria-label='Roll back to 2: toy@2']").click()
        page.driver.switch_to.alert.accept()
        page.until_text("#models-result", "toy@2 is now the production version.")
