"""Confidence and accuracy over time, compared with the same sums in plain Python."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from tests.service.conftest import Start
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from tests.service.problem_documents import problem
from uq4ct.model_store.uncertainty.intervals import wilson_interval
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.history import interval_ms, read_history
from uq4ct.service.ledger.windows import window_of
from uq4ct.service.records import PredictionRecord

pytestmark = pytest.mark.anyio
DAY_MS = 86_400_000
Labels = dict[str, bool]


def fill(database: Database, count: int = 200) -> tuple[list[PredictionRecord], Labels]:
    """Insert predictions of the last six days, half of them labelled; return them and whether they were right."""
    draw = random.Random(8)
    records, right = [], {}
    for number in range(count):
        name, version = draw.choice((("toy", 1), ("toy", 2), ("odd", 1)))
        record = make_record(
            prediction_id=id_of_age(draw.uniform(0.001, 6)),
            tenant=draw.choice("ab"),
            model=name,
            version=version,
            confidence=draw.random(),
        )
        insert(database, record)
        if number % 2:
            answer = draw.randrange(2)
            insert_label(database, record, answer, delay_ms=DAY_MS)
            right[record.prediction_id] = answer == record.option
        records.append(record)
    return records, right


@pytest.mark.parametrize("points", [2, 7, 42, 200])
@pytest.mark.parametrize(("tenant", "model"), [(None, None), ("a", "toy"), (None, "toy@2"), ("nobody", None)])
def test_every_interval_has_the_sums_of_its_predictions(
    database: Database, points: int, tenant: str | None, model: str | None
) -> None:
    records, right = fill(database)
    now_ms = int(time.time() * 1000)
    window = window_of(now_ms - 5 * DAY_MS, now_ms, tenant, model)
    width = interval_ms(window, points)
    assert points * width >= 5 * DAY_MS > points * (width - 1)
    expected: dict[tuple[str, int], dict[int, list[PredictionRecord]]] = {}
    for record in records:
        if record.created_ms < window.since_ms or tenant not in (None, record.tenant):
            continue
        if model in (None, record.model, record.reference):
            interval = (record.created_ms - window.since_ms) // width
            expected.setdefault((record.model, record.version), {}).setdefault(interval, []).append(record)
    found = read_history(database, window, points)
    assert list(found) == sorted(expected)
    for version, intervals in found.items():
        starts = {window.since_ms + interval * width: of for interval, of in expected[version].items()}
        assert [one.start_ms for one in intervals] == sorted(starts)
        for one in intervals:
            of = starts[one.start_ms]
            labelled = [record for record in of if record.prediction_id in right]
            correct = sum(right[record.prediction_id] for record in labelled)
            assert one.predictions == len(of)
            if not labelled:
                assert one.scores is None
                continue
            assert one.scores is not None
            assert one.scores.labelled == len(labelled)
            assert one.scores.mean_confidence == pytest.approx(sum(r.confidence for r in labelled) / len(labelled))
            assert one.scores.accuracy == correct / len(labelled)
            assert one.scores.accuracy_interval == wilson_interval(correct, len(labelled))


def test_the_busiest_versions_can_be_asked_for_alone(database: Database) -> None:
    records, _ = fill(database)
    now_ms = int(time.time() * 1000)
    counts = {record.reference: sum(one.reference == record.reference for one in records) for record in records}
    busiest = max(counts, key=lambda reference: counts[reference])
    (found,) = read_history(database, window_of(0, now_ms, None, None), 5, versions=1)
    assert "{}@{}".format(*found) == busiest


async def test_the_route_shows_the_history(start: Start, url: str, database: Database) -> None:
    record = make_record(prediction_id=id_of_age(1.5), confidence=0.75)
    insert(database, record, make_record(prediction_id=id_of_age(0.5)))
    insert_label(database, record, record.option)
    async with start(database_url=url) as replica:
        body = (await replica.client.get("/calibration/history", params={"window": "2d", "points": 2})).json()
        assert (await replica.client.get("/calibration/history")).json()["interval_seconds"] == 14_400
    (version,) = body["models"]
    first, second = version["points"]
    assert (version["model"], body["interval_seconds"]) == ("toy@1", 86_400)
    assert first == {
        "start": body["since"], "predictions": 1, "labelled": 1, "mean_confidence": 0.75, "accuracy": 1.0,
        "accuracy_interval": {"low": pytest.approx(0.2065, abs=1e-3), "high": 1.0},
    }  # fmt: skip
    assert (second["predictions"], second["labelled"], second["accuracy"]) == (1, 0, None)


@pytest.mark.parametrize(("field", "value"), [("points", 1), ("points", 201), ("window", "x"), ("versions", 0)])
async def test_a_wrong_parameter_is_a_problem_that_names_it(start: Start, field: str, value: Any) -> None:
    async with start() as replica:
        response = await replica.client.get("/calibration/history", params={field: value})
    problem(response, 422, "invalid-field")
    assert response.json()["errors"][0]["field"] == field
