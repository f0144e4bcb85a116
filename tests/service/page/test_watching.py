"""View the calibration, move the threshold and read the models in a real browser."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import httpx2
import pytest
from selenium.webdriver.common.keys import Keys

from tests.many_versions import copy_versions
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from tests.service.page.browsing import Page
from tests.service.page.conftest import Serve
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database

pytestmark = pytest.mark.slow
ROWS = """
const rows = [...document.querySelectorAll(arguments[0])];
return rows.map(row => [...row.children].map(cell => cell.textContent.replace('\u00a0', ' ')));
"""
READINGS = ".readings tbody tr"
# The points of the diagram in the units of its axes, which the diagonal line spans.
POINTS = """
const line = document.querySelector('.diagonal'), at = (e, n) => Number(e.getAttribute(n));
const x = v => (v - at(line, 'x1')) / (at(line, 'x2') - at(line, 'x1'));
const y = v => (v - at(line, 'y1')) / (at(line, 'y2') - at(line, 'y1'));
return [...document.querySelectorAll('.reliability .point')].map(p => {
  const [dot, bar] = [p.querySelector('circle'), p.querySelector('line')];
  return [x(at(dot, 'cx')), y(at(dot, 'cy')), y(at(bar, 'y1')), y(at(bar, 'y2')), x(at(bar, 'x1'))];
});
"""
COLUMNS = """
const height = column => Number(column.getAttribute('height'));
return [...document.querySelectorAll('.column')].map(column => [...column.querySelectorAll('rect')].map(height));
"""


def cohort_of(address: str, **query: str) -> dict[str, Any]:
    """Return the calibration of toy@1 from the API."""
    (cohort,) = httpx2.get(f"{address}/calibration", params={"model": "toy@1", **query}).json()["models"]
    return cohort


def percent(share: float | None) -> str:
    """Format a share like the page: a browser rounds halves away from zero, Python to the even digit."""
    return "none" if share is None else f"{Decimal(100 * share).quantize(Decimal('0.1'), ROUND_HALF_UP)} %"


def counted(tests: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the tests once they have counted all labels, else None."""
    return tests if tests and all(test["labels"] == 300 for test in tests) else None


@pytest.mark.usefixtures("labelled_ledger")
def test_the_diagram_shows_the_numbers_of_the_api(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        bins = cohort_of(address)["labelled"]["bins"]
    filled = [one for one in bins if one["labelled"]]
    points = page.run(POINTS)
    assert len(points) == len(filled) > 8
    for (x, y, low, high, bar_x), one in zip(points, filled, strict=True):
        assert (x, y) == (pytest.approx(one["mean_confidence"], abs=1e-3), pytest.approx(one["accuracy"], abs=1e-3))
        interval = one["accuracy_interval"]
        assert (low, high) == (pytest.approx(interval["low"], abs=1e-3), pytest.approx(interval["high"], abs=1e-3))
        assert bar_x == x
    most = max(one["predictions"] for one in bins)
    heights = page.run(COLUMNS)
    assert heights == [
        [pytest.approx(60 * one[name] / most, abs=1e-6) for name in ("predictions", "labelled")] for one in bins
    ]
    page.one(".reliability summary").click()
    rows = page.all(".reliability tbody tr")
    assert len(rows) == len(filled)
    for row, one in zip(rows, filled, strict=True):
        numbers = [one["predictions"], one["labelled"]]
        assert re.findall(r" (\d+) (\d+) ", row.text)[0] == tuple(map(str, numbers))
        assert f"{one['mean_confidence']:.3f} {one['accuracy']:.3f}" in row.text


@pytest.mark.usefixtures("labelled_ledger")
def test_the_verdict_states_the_error_and_its_floor(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        cohort = cohort_of(address)
    labelled = cohort["labelled"]
    floor, interval = labelled["ece_noise_floor"], labelled["rms_calibration_error_interval"]
    words = page.text("#calibration-body")
    assert (
        f"Expected calibration error {labelled['ece']:.3f}; a perfectly calibrated model would show "
        f"{floor['mean']:.3f} (95th percentile {floor['p95']:.3f})."
    ) in words
    assert (
        f"{labelled['rms_calibration_error']:.3f}, 95 % interval {interval['low']:.3f} to {interval['high']:.3f}, "
        "from 300 labels."
    ) in words
    assert cohort["verdict"]["state"] == "overconfident"
    assert {"ece", "gap_z"} <= set(cohort["verdict"]["reasons"])
    assert (page.one(".verdict").get_attribute("class"), page.text(".verdict strong")) == (
        "verdict off",
        "Overconfident.",
    )
    assert "the calibration error is above what chance explains" in page.text(".verdict")
    assert f"+{labelled['signed_gap']:.3f}\nOverconfident" in words
    assert percent(labelled["accuracy"]) in words
    assert f"{labelled['gap_z']:.2f}; {labelled['spiegelhalter_z']:.2f}" in words
    assert "400 predictions\n75.0 % have a label." in words


@pytest.mark.usefixtures("labelled_ledger")
def test_the_slider_shows_coverage_and_risk_of_split_and_labels(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        cohort = cohort_of(address)
    curves = {"Calibration split": cohort["reference"]["curve"], "Live labels": cohort["labelled"]["curve"]}
    slider = page.one("#threshold-slider")
    assert slider.get_attribute("value") == f"{cohort['reference']['abstention']['threshold']:g}"

    def check(index: int) -> None:
        expected = [
            [
                name,
                percent(curve[index]["coverage"]),
                percent(curve[index]["selective_risk"]),
                str(curve[index]["answered"]),
            ]
            for name, curve in curves.items()
        ]
        assert page.run(ROWS, READINGS) == expected
        assert page.text(".slider output") == f"{index / 100:.2f}"
        spoken = (slider.get_attribute("aria-valuetext") or "").replace("\xa0", " ")
        assert all(row[1] in spoken and row[2] in spoken for row in expected)

    slider.send_keys(Keys.HOME)
    check(0)
    for index in range(1, 4):
        slider.send_keys(Keys.ARROW_RIGHT)
        check(index)
    for index in range(0, 101):  # every position of the slider
        page.run("const [s, v] = arguments; s.value = v; s.dispatchEvent(new Event('input'))", slider, str(index / 100))
        check(index)
    slider.send_keys(Keys.END)
    assert curves["Live labels"][100]["selective_risk"] is None  # no answer is that confident
    assert [circle.get_attribute("visibility") for circle in page.all(".dot.live")] == ["visible", "hidden"]


@pytest.mark.usefixtures("labelled_ledger")
def test_the_curves_are_drawn_from_the_same_points(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        cohort = cohort_of(address)
    for style, curve in (("reference", cohort["reference"]["curve"]), ("live", cohort["labelled"]["curve"])):
        coverage, risk = page.all(f"#threshold-body figure path.{style}")
        for path, name in ((coverage, "coverage"), (risk, "selective_risk")):
            values = [point[name] for point in curve if point[name] is not None]
            drawn = [float(y) for _, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.get_attribute("d") or "")]
            assert len(drawn) == len(values)
            # In SVG, y decreases upwards; equal values have equal heights.
            scale = (drawn[0] - drawn[-1]) / (values[0] - values[-1])
            assert scale < 0
            assert drawn == pytest.approx([drawn[0] + scale * (value - values[0]) for value in values], abs=0.05)


def test_missing_points_of_a_curve_are_shown_as_not_stored(serve: Serve, page: Page, ledger: Database) -> None:
    insert(ledger, make_record(tenant="default", model="other"))
    with serve() as address:
        page.open_loaded(address)
        page.choose("#calibration-model", "other@1")
        page.until_text("#threshold-body", "Threshold of other@1")
        slider = page.one("#threshold-slider")
        (curve,) = page.run(ROWS, READINGS)
        assert curve == ["Calibration split", *["not stored"] * 3]  # 0.6, between its points
        slider.send_keys(Keys.HOME)
        assert page.run(ROWS, READINGS) == [["Calibration split", "100.0 %", "35.0 %", "20"]]  # 7 of 20
        slider.send_keys(Keys.ARROW_RIGHT)
        assert page.run(ROWS, READINGS) == [["Calibration split", *["not stored"] * 3]]
        assert {dot.get_attribute("visibility") for dot in page.all(".dot")} == {"hidden"}


@pytest.mark.usefixtures("labelled_ledger")
def test_a_window_without_answers_says_what_to_do(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        page.choose("#calibration-model", "toy@2")
        page.until_text("#calibration-body", "toy@2 has answered nothing since")
        assert "No answers in the window" in page.text("#threshold-body")
        page.choose("#calibration-model", "toy@1")
        page.until_text("#calibration-body", "300 labels")


def test_answers_without_labels_say_what_to_do(serve: Serve, page: Page, ledger: Database) -> None:
    insert(ledger, *(make_record(prediction_id=id_of_age(days=2), tenant="default") for _ in range(3)))
    with serve() as address:
        page.driver.get(f"{address}/?window=24h")
        page.until_text("#calibration-body", "answered nothing")
        page.choose("#window", "7d")
        assert "3 predictions of toy@1" in page.until_text("#calibration-body", "No labels yet.")
        assert "POST /feedback" in page.text("#calibration-body")
        assert page.all(".reliability") == []
        assert [row[0] for row in page.run(ROWS, READINGS)] == ["Calibration split"]


@pytest.mark.usefixtures("labelled_ledger")
def test_the_sequential_tests_are_shown_with_their_state(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open(address)
        tests = page.until(lambda: counted(cohort_of(address)["sequential"]))  # a few seconds after the labels
        page.open_loaded(address)
    rows = page.run(ROWS, "[aria-label='Sequential tests of toy@1'] tbody tr")
    assert len(rows) == len(tests) == 3
    for row, test in zip(rows, tests, strict=True):
        state = f"alarm since {test['alarmed_at'][:10]}" if test["alarm"] else "quiet"
        name = test["test"].replace("_", " ")
        assert row == [name, state, f"{test['log_evidence']:.2f}", str(test["labels"]), test["since"][:10]]
    assert "alarm" in " ".join(state for _, state, *_ in rows)  # these answers are overconfident


@pytest.mark.usefixtures("labelled_ledger")
def test_alarms_are_shown_whatever_version_and_window_are_chosen(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open(address)
        tests = page.until(lambda: counted(cohort_of(address)["sequential"]))
        page.open_loaded(address)
        (raised,) = [test for test in tests if test["alarm"]]
        minute = raised["alarmed_at"][:16].replace("T", " ")
        meaning = "toy@1 is overconfident: its confidence is higher than its accuracy"
        expected = f"{meaning} (since {minute} UTC; 300 labels by now). What to do"
        assert page.text("#alarms-list") == expected
        page.choose("#calibration-model", "toy@2")
        page.until_text("#calibration-body", "toy@2 has answered nothing since")
        assert page.text("#alarms-list") == expected
        page.one("#alarms-list a").click()
        target = page.until(lambda: page.run("return document.querySelector(':target')?.textContent"))
        assert "SequentialAlarm" in target


def test_an_alarm_is_no_less_one_in_a_window_without_labels(serve: Serve, page: Page, ledger: Database) -> None:
    for _ in range(100):
        record = make_record(prediction_id=id_of_age(days=2), tenant="default", confidence=0.9, option=1)
        insert(ledger, record)
        insert_label(ledger, record, 0)
    insert(ledger, make_record(tenant="default"))
    with serve() as address:
        page.open(address)
        page.until(lambda: any(test["alarm"] for test in cohort_of(address)["sequential"]))
        page.driver.get(f"{address}/?window=24h")
        page.until_text("#calibration-body", "No labels yet.")
        assert page.one(".verdict").get_attribute("class") == "verdict off"
        found = "Overconfident. Found: the sequential test of overconfidence has raised an alarm"
        assert page.text(".verdict").startswith(found)
        assert len(page.run(ROWS, "[aria-label='Sequential tests of toy@1'] tbody tr")) == 3


def test_one_label_gives_no_verdict(serve: Serve, page: Page, ledger: Database) -> None:
    record = make_record(tenant="default")
    insert(ledger, record)
    insert_label(ledger, record, record.option)
    with serve() as address:
        page.open_loaded(address)
        assert page.one(".verdict").get_attribute("class") == "verdict unknown"
        assert page.text(".verdict") == "Too few labels for a verdict. 1 label."
        assert page.one("#alarms").is_displayed() is False


def test_refresh_asks_again(serve: Serve, page: Page, labelled_ledger: Database) -> None:
    with serve() as address:
        page.open_loaded(address)
        insert(labelled_ledger, make_record(tenant="default"))
        page.one("#refresh").click()
        page.until_text("#calibration-body", "401 predictions")
        announced = "return document.querySelector('#announcer').textContent === 'Everything is up to date'"
        page.until(lambda: page.run(announced))


def shown_models(page: Page) -> list[str]:
    """Return the references in the list of models."""
    return page.run("return [...document.querySelectorAll('#models-body h3')].map(title => title.textContent)")


def test_the_models_are_shown_page_by_page_and_found_by_name(serve: Serve, page: Page, own_adapters: Registry) -> None:
    copy_versions(own_adapters, "other", 20)
    (own_adapters.root / "toy" / "2" / "manifest.json").write_text("{}")
    with serve(adapters=own_adapters) as address:
        page.open_loaded(address)
        assert page.run("return document.querySelector('#calibration-model').value") == "toy@1"  # on the second page
        assert shown_models(page) == [f"other@{version}" for version in range(1, 13)]
        page.one("#models-next").click()
        page.until(lambda: shown_models(page) == [*(f"other@{version}" for version in range(13, 21)), "toy@1", "toy@2"])
        assert not page.one("#models-next").is_displayed()
        page.one("#models-first").click()
        page.until(lambda: shown_models(page)[0] == "other@1")
        page.one("#models-search").send_keys("TOY@1", Keys.RETURN)
        page.until(lambda: shown_models(page) == ["toy@1", "toy@2"])
        page.driver.refresh()  # the address has the search
        page.until(lambda: shown_models(page) == ["toy@1", "toy@2"])
        page.type_over("#models-search", "nobody")
        page.one("#models-apply").click()
        page.until_text("#models-body", "No name contains nobody.")


def test_every_registered_model_is_shown_with_its_scores(serve: Serve, page: Page) -> None:
    with serve() as address:
        page.open_loaded(address)
        models = httpx2.get(f"{address}/models").json()["models"]
    cards = page.all("#models-body .card")
    assert len(cards) == len(models) == 3
    for card, model in zip(cards, models, strict=True):
        reference = f"{model['name']}@{model['version']}"
        scores = model["scores"]
        assert card.text.startswith(reference)
        states = [state.text for state in card.find_elements("css selector", ".states li")]
        assert states == [
            "ready" if reference == "toy@1" else "registered, not loaded",
            *(["default"] if reference == "toy@1" else []),
            *model["aliases"],
        ]
        assert percent(scores["accuracy"]) in card.text
        low, high = (scores["rms_calibration_error_interval"][end] for end in ("low", "high"))
        assert f"{scores['rms_calibration_error']:.3f}\n95 % interval {low:.3f} to {high:.3f}." in card.text
        assert f"{scores['ece_noise_floor']:.3f} (95th percentile {scores['ece_noise_floor_p95']:.3f})" in card.text
