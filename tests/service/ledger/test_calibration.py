"""GET /calibration against the library functions on the same numbers, and against hand-made cohorts."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch

from tests.service.conftest import Replica, Start, draft
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from uq4ct.model_store.decisions import Decisions
from uq4ct.model_store.storage.manifest import ReferenceHistograms
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.uncertainty.bins import bin_of
from uq4ct.model_store.uncertainty.calibration_error import expected_calibration_error, noise_floor
from uq4ct.model_store.uncertainty.squared_calibration_error import Confidences, squared_calibration_error
from uq4ct.service.ledger import ledger
from uq4ct.service.ledger.cohorts import LiveCalibration
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.queries import Window, count_cohorts

pytestmark = pytest.mark.anyio
HOUR = 1 / 24


async def report(replica: Replica, **query: str) -> httpx2.Response:
    """GET /calibration."""
    return await replica.client.get("/calibration", params=query)


def check_statistics(scores: dict[str, Any], labelled: list[tuple[float, bool]]) -> None:
    """Check the gap statistics, the Brier score and the curve against their formulas."""
    n = len(labelled)
    variance = [p * (1 - p) for p, _ in labelled]
    assert scores["gap_z"] == pytest.approx(sum(p - y for p, y in labelled) / sum(variance) ** 0.5, rel=1e-9)
    brier = [(p - y) ** 2 for p, y in labelled]
    assert scores["top_label_brier"] == pytest.approx(sum(brier) / n, rel=1e-12)
    spread = sum((1 - 2 * p) ** 2 * p * (1 - p) for p, _ in labelled) ** 0.5
    assert scores["spiegelhalter_z"] == pytest.approx((sum(brier) - sum(variance)) / spread, rel=1e-9)
    assert [point["threshold"] for point in scores["curve"]] == [step / 100 for step in range(101)]
    for point in scores["curve"]:
        above = [right for p, right in labelled if p >= point["threshold"]]
        assert (point["answered"], point["coverage"]) == (len(above), len(above) / n)
        assert point["selective_risk"] == (pytest.approx(1 - sum(above) / len(above)) if above else None)


async def test_every_number_of_a_cohort(start: Start, url: str, database: Database) -> None:
    draw = random.Random(5)
    records = [
        make_record(
            prediction_id=id_of_age(days=draw.uniform(0.01, 0.9)),
            confidence=(p := draw.uniform(0.5, 1.0)),
            bin=bin_of(p),
            probabilities=(1 - p, p),
            abstain=p < 0.6,
        )
        for _ in range(60)
    ]
    insert(database, *records)
    labelled = [(record, draw.random() < 0.75) for record in records[:45]]
    for record, correct in labelled:
        insert_label(database, record, int(correct))
    labelled.sort(key=lambda pair: pair[0].prediction_id, reverse=True)
    async with start(database_url=url) as replica:
        (cohort,) = (await report(replica)).json()["models"]
    confidence = torch.tensor([record.confidence for record, _ in labelled], dtype=torch.float64)
    correct = torch.tensor([right for _, right in labelled])
    answered = [right for record, right in labelled if not record.abstain]
    assert cohort["model"] == "toy@1"
    assert cohort["predictions"] == 60
    assert cohort["label_share"] == 45 / 60
    assert cohort["coverage"] == sum(not record.abstain for record in records) / 60
    assert cohort["mean_confidence"] == pytest.approx(sum(record.confidence for record in records) / 60, rel=1e-12)
    scores = cohort["labelled"]
    assert scores["questions"] == 45
    assert scores["accuracy"] == pytest.approx(correct.double().mean().item(), rel=1e-12)
    assert scores["mean_confidence"] == pytest.approx(confidence.mean().item(), rel=1e-12)
    gap = confidence.mean().item() - correct.double().mean().item()
    assert scores["signed_gap"] == pytest.approx(gap, abs=1e-12)
    assert scores["ece"] == pytest.approx(expected_calibration_error(confidence, correct), rel=1e-12)
    floor = noise_floor(confidence)
    assert scores["ece_noise_floor"] == {"mean": pytest.approx(floor.mean), "p95": pytest.approx(floor.p95)}
    squared = squared_calibration_error([Confidences(confidence, correct)])
    interval = squared.root_interval
    assert scores["rms_calibration_error"] == pytest.approx(squared.root)
    assert scores["rms_calibration_error_interval"] == {
        "low": pytest.approx(interval.low),
        "high": pytest.approx(interval.high),
    }
    check_statistics(scores, [(record.confidence, right) for record, right in labelled])
    assert scores["selective_risk"] == pytest.approx(1 - sum(answered) / len(answered), rel=1e-12)
    assert len(scores["bins"]) == 15
    assert sum(one["labelled"] for one in scores["bins"]) == 45
    for one in scores["bins"]:
        inside = [(r.confidence, right) for r, right in labelled if one["low"] <= r.confidence < one["high"]]
        assert one["labelled"] == len(inside)
        every = [record for record in records if one["low"] <= record.confidence < one["high"]]
        assert one["predictions"] == len(every)
        assert cohort["confidence_shares"][scores["bins"].index(one)] == len(every) / 60
        if inside:
            assert one["accuracy"] == pytest.approx(sum(right for _, right in inside) / len(inside))
            assert one["mean_confidence"] == pytest.approx(sum(p for p, _ in inside) / len(inside))
        else:
            assert (one["accuracy"], one["mean_confidence"], one["accuracy_interval"]) == (None, None, None)


async def test_a_window_is_one_of_prediction_time(start: Start, url: str, database: Database) -> None:
    ages = {"toy": (0.5 * HOUR, 2 * HOUR), "other": (30 * HOUR,), "third": (20.0,)}
    for model, days in ages.items():
        for age in days:
            record = make_record(prediction_id=id_of_age(age), model=model, version=3)
            insert(database, record)
            insert_label(database, record, 1)
    async with start(database_url=url, retention_days=30) as replica:
        for window, expected in (
            ("3600s", {"toy@3": 1}),
            ("60m", {"toy@3": 1}),
            ("24h", {"toy@3": 2}),
            ("2d", {"toy@3": 2, "other@3": 1}),
            ("999999999d", {"toy@3": 2, "other@3": 1, "third@3": 1}),
        ):
            models = (await report(replica, window=window)).json()["models"]
            assert {one["model"]: one["predictions"] for one in models} == expected
            assert {one["model"]: one["labelled"]["questions"] for one in models} == expected
        assert (await report(replica)).json()["models"] == (await report(replica, window="24h")).json()["models"]
        for model, names in (("toy", ["toy@3"]), ("toy@3", ["toy@3"]), ("toy@4", []), ("nobody", [])):
            models = (await report(replica, window="2d", model=model)).json()["models"]
            assert [one["model"] for one in models] == names
        for versions, names in (("1", ["toy@3"]), ("3", ["other@3", "third@3", "toy@3"])):
            models = (await report(replica, window="999999999d", versions=versions)).json()["models"]
            assert [one["model"] for one in models] == names
        assert (await report(replica, versions="0")).status_code == 422
        for window in ("", "24", "h", "0h", "-1h", "1w", "1.5h", "24h ", "9999999999s"):
            response = await report(replica, window=window)
            assert response.status_code == 422
            assert response.json()["errors"][0]["field"] == "window"
        assert (await report(replica, model="../x")).status_code == 422


async def test_without_labels_there_are_no_scores(start: Start, url: str, database: Database) -> None:
    insert(database, make_record(abstain=True))
    labelled = make_record(model="other", abstain=True)
    insert(database, labelled)
    insert_label(database, labelled, 0)
    async with start(database_url=url) as replica:
        other, toy = (await report(replica)).json()["models"]
    assert (toy["predictions"], toy["coverage"], toy["label_share"], toy["labelled"]) == (1, 0.0, 0.0, None)
    assert other["labelled"]["accuracy"] == 0.0
    assert other["labelled"]["selective_risk"] is None  # nothing was answered


async def test_a_tenant_sees_its_own(start: Start, url: str, database: Database) -> None:
    for tenant, number in (("a", 2), ("b", 3)):
        for _ in range(number):
            record = make_record(tenant=tenant)
            insert(database, record)
            insert_label(database, record, 1)
    async with start(database_url=url) as replica:
        for tenant, number in (("a", 2), ("b", 3), (None, 5), ("c", 0)):
            live = await replica.context.ledger.calibration(Window(0, 2**45, tenant, None, None))
            assert sum(cohort.count.predictions for cohort in live.cohorts) == number
            assert sum(cohort.scores.questions for cohort in live.cohorts if cohort.scores) == number


async def test_a_window_leaves_out_what_a_clock_that_was_ahead_has_stored(
    start: Start, url: str, database: Database
) -> None:
    """Otherwise such predictions would be the newest of every window until that time has come."""
    ahead, now = make_record(prediction_id=id_of_age(-365)), make_record()
    insert(database, ahead, now)
    for record in (ahead, now):
        insert_label(database, record, 1)
    async with start(database_url=url) as replica:
        (cohort,) = (await report(replica)).json()["models"]
    assert (cohort["predictions"], cohort["labelled"]["questions"]) == (1, 1)


async def test_only_so_many_reports_wait_for_each_other(
    start: Start, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that requests many reports gets 503, and the queue does not grow."""
    may_end = threading.Event()
    monkeypatch.setattr(ledger, "read_calibration", lambda *_: may_end.wait(20) and LiveCalibration([], []))
    async with start(database_url=url) as replica:
        asked = [asyncio.create_task(report(replica)) for _ in range(12)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        may_end.set()
        codes = [response.status_code for response in await asyncio.gather(*asked)]
        assert sorted(codes) == [200] * 8 + [503] * 4
        assert (await report(replica)).status_code == 200


def test_feu_is_binned_as_everywhere(database: Database) -> None:
    edges = [step / 15 for step in range(16)]
    values = [*edges, *(math.nextafter(edge, 2) for edge in edges), *(math.nextafter(edge, 0) for edge in edges[1:])]
    insert(database, *(make_record(feu=value) for value in values), make_record(feu=None))
    (cohort,) = count_cohorts(database, Window(0, 2**45, None, None, None))
    expected = [0] * 15
    for value in values:
        expected[bin_of(value)] += 1
    assert cohort.predictions == len(values) + 1
    assert cohort.by_feu == tuple(expected)
    assert cohort.by_confidence == (0,) * 10 + (len(values) + 1,) + (0,) * 4


async def test_shares_of_feu_are_null_without_routers(start: Start, url: str, database: Database) -> None:
    insert(database, make_record(feu=None), make_record(model="other", feu=0.5), make_record(model="other", feu=None))
    async with start(database_url=url) as replica:
        other, toy = (await report(replica)).json()["models"]
    assert toy["feu_shares"] is None
    assert other["feu_shares"] == [0.0] * 7 + [1.0] + [0.0] * 7  # of the predictions with FEU


async def test_how_long_labels_took(start: Start, url: str, database: Database) -> None:
    for seconds in (-5, *range(1, 11)):  # one from a clock that runs behind
        record = make_record()
        insert(database, record)
        insert_label(database, record, 1, delay_ms=seconds * 1000)
    async with start(database_url=url) as replica:
        (cohort,) = (await report(replica)).json()["models"]
    assert cohort["label_delay"] == {"median_seconds": 5.0, "p90_seconds": pytest.approx(9.0)}


async def test_confidences_without_variance_give_no_z(start: Start, url: str, database: Database) -> None:
    sure, even = make_record(confidence=1.0), make_record(model="other", confidence=0.5)
    insert(database, sure, even)
    insert_label(database, sure, 1)
    insert_label(database, even, 1)
    async with start(database_url=url) as replica:
        other, toy = (cohort["labelled"] for cohort in (await report(replica)).json()["models"])
    assert (toy["gap_z"], toy["spiegelhalter_z"]) == (None, None)
    assert (other["gap_z"], other["spiegelhalter_z"]) == (-1.0, None)


async def test_the_reference_is_that_of_the_store(start: Start, url: str, database: Database) -> None:
    insert(database, make_record(model="toy", version=2), make_record(model="toy", version=9))
    async with start(database_url=url) as replica:
        known, gone = (await report(replica)).json()["models"]
    assert (gone["model"], gone["reference"]) == ("toy@9", None)
    reference = known["reference"]
    assert (reference["questions"], reference["accuracy"], reference["ece"]) == (20, 0.65, 0.1)
    assert reference["abstention"] == {"threshold": 0.6, "share": pytest.approx(0.3)}
    assert reference["confidence_shares"] is None  # the manifest has 3 bins
    assert reference["curve"] == [
        {"threshold": 0.0, "coverage": 1.0, "answered": 20, "selective_risk": 7 / 20},
        {"threshold": 0.5, "coverage": 0.9, "answered": 18, "selective_risk": 5 / 18},
        {"threshold": 1.0, "coverage": 0.15, "answered": 3, "selective_risk": 0.0},
    ]


async def test_shares_of_the_reference(start: Start, url: str, database: Database, own_adapters: Registry) -> None:
    histograms = ReferenceHistograms(
        bins=15, questions=20, confidence=(0,) * 13 + (8, 12), feu=(5, 15) + (0,) * 13, accuracy=0.65, ece=0.1
    )
    undecided = {"sets": None, "abstention": None, "tested": None}
    changes = {"reference_histograms": histograms, "decisions": Decisions(**undecided)}
    own_adapters.publish(draft("toy").model_copy(update=changes), {"w": torch.ones(2)}, {}, promote=False)
    insert(database, make_record(version=3))
    async with start(database_url=url, adapters=own_adapters) as replica:
        (cohort,) = (await report(replica)).json()["models"]
    assert cohort["reference"]["confidence_shares"] == [0.0] * 13 + [0.4, 0.6]
    assert cohort["reference"]["feu_shares"] == [0.25, 0.75] + [0.0] * 13
    assert cohort["reference"]["abstention"] is None


async def test_a_damaged_version_has_no_reference(
    start: Start, url: str, database: Database, own_adapters: Registry, tmp_path: Path
) -> None:
    insert(database, make_record(version=2))
    async with start(database_url=url, adapters=own_adapters) as replica:
        (tmp_path / "own" / "toy" / "2" / "manifest.json").write_text("{}")
        (cohort,) = (await report(replica)).json()["models"]
    assert cohort["reference"] is None
