"""GET /calibration against the same functions on the same numbers, and against hand-made cohorts."""

from __future__ import annotations

import random

import httpx
import pytest
import torch

from model_store.uncertainty.calibration_error import expected_calibration_error, noise_floor
from model_store.uncertainty.resampling import bootstrap_interval
from service.ledger.database import Database
from service.ledger.queries import Window
from tests.service.conftest import Replica, Start
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record

pytestmark = pytest.mark.anyio
HOUR = 1 / 24


async def report(replica: Replica, **query: str) -> httpx.Response:
    """GET /calibration."""
    return await replica.client.get("/calibration", params=query)


async def test_every_number_of_a_cohort(start: Start, url: str, database: Database) -> None:
    draw = random.Random(5)
    records = [
        make_record(
            prediction_id=id_of_age(days=draw.uniform(0.01, 0.9)),
            confidence=(p := draw.uniform(0.5, 1.0)),
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
    interval = bootstrap_interval(lambda index: expected_calibration_error(confidence[index], correct[index]), 45)
    assert scores["ece_interval"] == {"low": pytest.approx(interval.low), "high": pytest.approx(interval.high)}
    assert scores["selective_risk"] == pytest.approx(1 - sum(answered) / len(answered), rel=1e-12)
    assert len(scores["bins"]) == 15
    assert sum(one["labelled"] for one in scores["bins"]) == 45
    for one in scores["bins"]:
        inside = [(r.confidence, right) for r, right in labelled if one["low"] <= r.confidence < one["high"]]
        assert one["labelled"] == len(inside)
        if inside:
            assert one["accuracy"] == pytest.approx(sum(right for _, right in inside) / len(inside))
            assert one["mean_confidence"] == pytest.approx(sum(p for p, _ in inside) / len(inside))
        else:
            assert (one["accuracy"], one["mean_confidence"]) == (None, None)


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
            cohorts = await replica.context.ledger.cohorts(Window(0, tenant, None, None))
            assert sum(cohort.count.predictions for cohort in cohorts) == number
            assert sum(cohort.scores.questions for cohort in cohorts if cohort.scores) == number
