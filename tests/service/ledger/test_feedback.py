"""Labels over HTTP, on both databases."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from tests.service.conftest import Replica, Start
from tests.service.ledger.conftest import count_rows, id_of_age, insert, make_record
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import NotVisibleYetError, PastRetentionError
from uq4ct.service.ledger.feedback import Feedback, store_label
from uq4ct.service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio
SLOW_FLUSH = 60.0  # so long that only a forced flush explains a write


async def tell(replica: Replica, prediction_id: str, answer: int | str, **fields: Any) -> httpx2.Response:
    """POST /feedback."""
    body = {"prediction_id": prediction_id, "answer": answer, **fields}
    return await replica.client.post("/feedback", json=body)


def slug(response: httpx2.Response) -> str:
    """Return the result, or the slug of the problem."""
    document = response.json()
    return document["type"].rpartition(":")[2] if "type" in document else document["result"]


def sums(replica: Replica, name: str) -> float:
    """Return the sum of a labelled_* counter over all its series."""
    (metric,) = (one for one in replica.registry.collect() if one.name == f"uq4ct_labelled_{name}")
    return sum(sample.value for sample in metric.samples if sample.name.endswith("_total"))


async def test_a_label_is_stored_once_and_counted_as_served(start: Start, url: str, database: Database) -> None:
    async with start(database_url=url, ledger_flush_seconds=SLOW_FLUSH, tasks=("triage",)) as replica:
        answer = (await replica.ask(task="triage")).json()
        identifier, chosen, p = answer["prediction_id"], answer["option"]["index"], answer["confidence"]
        cell = {"model": "toy", "version": "1", "task": "triage"}
        cell["decision"] = "abstain" if answer["abstain"] else "answer"
        cell["bin"] = f"{min(int(p * 15), 14):02d}"
        assert replica.sample("labelled_predictions_total", **cell) == 0
        first = await tell(replica, identifier, answer["option"]["label"], source="a person")
        assert (first.status_code, first.json()) == (200, {"prediction_id": identifier, "result": "accepted"})
        again = await tell(replica, identifier, chosen)
        assert (again.status_code, slug(again)) == (200, "duplicate")
        conflict = await tell(replica, identifier, 1 - chosen)
        assert (conflict.status_code, slug(conflict)) == (409, "label-conflict")
        assert count_rows(database) == (1, 1)
        counted = [("predictions", 1), ("confidence", p), ("correct", 1), ("variance", p * (1 - p))]
        for name, value in counted:
            assert replica.sample(f"labelled_{name}_total", **cell) == pytest.approx(value, rel=1e-12)
            assert sums(replica, name) == pytest.approx(value, rel=1e-12)
        assert sums(replica, "top_label_brier") == pytest.approx((1 - p) ** 2, rel=1e-12)
        assert sums(replica, "z_variance") == pytest.approx((1 - 2 * p) ** 2 * p * (1 - p), rel=1e-12)
        series = {"model": "toy", "version": "1", "task": "triage"}
        assert replica.sample("label_delay_seconds_count", **series) == 1
        results = {
            name: replica.sample("feedback_total", result=name) for name in ("accepted", "duplicate", "conflict")
        }
        assert results == {"accepted": 1, "duplicate": 1, "conflict": 1}
        seen = (await replica.client.get(f"/predictions/{identifier}")).json()["label"]
        assert (seen["option"]["index"], seen["correct"], seen["source"]) == (chosen, True, "a person")


async def test_a_wrong_answer_is_counted_as_one(start: Start, url: str) -> None:
    async with start(database_url=url) as replica:
        answer = (await replica.ask()).json()
        assert (await tell(replica, answer["prediction_id"], 1 - answer["option"]["index"])).status_code == 200
        assert (sums(replica, "predictions"), sums(replica, "correct")) == (1, 0)


@pytest.mark.parametrize("answer", [2, -1, 10**30, "C", "a", "AB", "", "\x00", "\ud800", True, None, 0.0, [0]])
async def test_an_answer_outside_the_options(start: Start, answer: Any) -> None:
    import json

    async with start() as replica:
        identifier = (await replica.ask()).json()["prediction_id"]
        body = json.dumps({"prediction_id": identifier, "answer": answer})
        response = await replica.client.post("/feedback", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 422
        assert [error["field"] for error in response.json()["errors"]] == ["answer"]
        assert (await tell(replica, identifier, 0)).status_code == 200


async def test_unknown_and_late_ids(start: Start, url: str, database: Database) -> None:
    old = make_record(prediction_id=id_of_age(days=31))
    insert(database, old)
    async with start(database_url=url, retention_days=30) as replica:
        for unknown in (id_of_age(days=1), id_of_age(days=-1), str(uuid.uuid4()), str(uuid.UUID(int=0))):
            assert slug(await tell(replica, unknown, 0)) == "unknown-prediction"
            assert (await replica.client.get(f"/predictions/{unknown}")).status_code == 404
        late = await tell(replica, old.prediction_id, 0)
        assert (late.status_code, slug(late)) == (410, "past-retention")
        assert (await replica.client.get(f"/predictions/{old.prediction_id}")).status_code == 410
        assert (await tell(replica, "not-an-id", 0)).status_code == 422
        assert replica.sample("feedback_total", result="unknown") == 4
        assert replica.sample("feedback_total", result="late") == 1


async def test_another_tenants_prediction_is_unknown(start: Start, url: str) -> None:
    async with start(database_url=url, ledger_flush_seconds=SLOW_FLUSH) as replica:
        ledger = replica.context.ledger
        identifier = (await replica.ask()).json()["prediction_id"]
        for _ in range(2):  # while it waits, and once it is written
            with pytest.raises(NotVisibleYetError):  # like any young id that is not in the ledger
                await ledger.find(identifier, "another")
            with pytest.raises(NotVisibleYetError):
                await ledger.label(Feedback(identifier, 0, None), "another")
        assert (await ledger.find(identifier, None)).label is None
        assert (await ledger.find(identifier, "default")).label is None


async def test_feedback_to_the_other_replica(start: Start, url: str) -> None:
    """A label of a prediction that the other replica has not written yet is rejected with a retry, then accepted."""
    async with (
        start(database_url=url, ledger_flush_seconds=SLOW_FLUSH) as one,
        start(database_url=url, ledger_flush_seconds=SLOW_FLUSH) as other,
    ):
        identifier = (await one.ask()).json()["prediction_id"]
        early = await tell(other, identifier, 0)
        assert (early.status_code, slug(early)) == (503, "not-visible-yet")
        assert early.headers["retry-after"] == "1"
        seen = await other.client.get(f"/predictions/{identifier}")
        assert (seen.status_code, seen.headers["retry-after"]) == (503, "1")
        assert (await one.client.get(f"/predictions/{identifier}")).status_code == 200  # from its own buffer
        await one.context.ledger.flush()
        assert slug(await tell(other, identifier, 0)) == "accepted"
        assert slug(await tell(one, identifier, 0)) == "duplicate"
        assert sums(one, "predictions") == 0
        assert sums(other, "predictions") == 1


async def test_racing_labels_let_one_in(start: Start, url: str, database: Database) -> None:
    async with start(database_url=url) as one, start(database_url=url) as other:
        for answers in ([1] * 12, [0, 1] * 6):
            identifier = (await one.ask()).json()["prediction_id"]
            await one.context.ledger.flush()
            replicas = (one, other) * 6
            races = [tell(replica, identifier, answer) for replica, answer in zip(replicas, answers, strict=True)]
            responses = await asyncio.gather(*races)
            seen = (await one.client.get(f"/predictions/{identifier}")).json()["label"]["option"]["index"]
            expected = Counter(200 if answer == seen else 409 for answer in answers)
            assert Counter(response.status_code for response in responses) == expected
            assert Counter(map(slug, responses))["accepted"] == 1
        assert sums(one, "predictions") + sums(other, "predictions") == 2
        assert count_rows(database) == (2, 2)


async def test_a_prediction_deleted_in_the_meantime_gets_no_label(database: Database) -> None:
    """Retention deletes it between the lookup and the write: nothing is stored or counted."""
    metrics = Metrics(CollectorRegistry())
    gone = make_record()
    with pytest.raises(PastRetentionError, match=f"{gone.prediction_id} has just been deleted"):
        store_label(database, metrics, gone, Feedback(gone.prediction_id, 0, None), now_ms=1)
    assert count_rows(database) == (0, 0)
    assert metrics.registry.get_sample_value("uq4ct_feedback_total", {"result": "accepted"}) == 0


async def test_a_batch_takes_each_label_by_itself(start: Start, url: str) -> None:
    async with start(database_url=url, max_client_batch_size=8, retention_days=30) as replica:
        ids = [(await replica.ask(f"number {n}")).json()["prediction_id"] for n in range(2)]
        items: list[Any] = [
            {"prediction_id": ids[0], "answer": 0},
            {"prediction_id": ids[0], "answer": "A"},
            {"prediction_id": ids[0], "answer": 1},
            {"prediction_id": ids[1], "answer": "Z"},
            {"prediction_id": id_of_age(days=31), "answer": 0},
            {"prediction_id": id_of_age(days=1), "answer": 0},
            "not an object",
            {"prediction_id": ids[1], "answer": 1},
        ]
        response = await replica.client.post("/feedback/batch", json={"feedback": items})
        assert response.status_code == 200
        results = response.json()["results"]
        outcomes = [item.get("result") or item["type"].rpartition(":")[2] for item in results]
        assert outcomes == [
            "accepted",
            "duplicate",
            "label-conflict",
            "invalid-field",
            "past-retention",
            "unknown-prediction",
            "invalid-field",
            "accepted",
        ]
        assert {item["request_id"] for item in results if "type" in item} == {response.headers["x-request-id"]}
        too_many = await replica.client.post("/feedback/batch", json={"feedback": items * 2})
        assert (too_many.status_code, too_many.json()["limit"]) == (413, 8)
        for malformed in ({"feedback": []}, {"feedback": "x"}, {}, []):
            assert (await replica.client.post("/feedback/batch", json=malformed)).status_code == 422
