"""What the ledger stores of an answer, and what it returns for an idempotency key."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from tests.service.conftest import Start
from tests.service.fake_predictor import FakePredictor, answer_to
from tests.service.ledger.conftest import count_rows, insert, make_record
from uq4ct.model_store.questions import Question
from uq4ct.service.engine.predictor import Served
from uq4ct.service.http.guards import Caller, Scope
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.queries import find_prediction
from uq4ct.service.ledger.tables import predictions
from uq4ct.service.routes.recording import Asked, record_answer
from uq4ct.service.schemas.predict import PredictRequest

pytestmark = pytest.mark.anyio


async def test_a_record_comes_back_as_it_was(database: Database) -> None:
    full = make_record(
        key_hash="a" * 64,
        confidence=0.1 + 0.2,
        probabilities=(1 / 3, 2 / 3, 5e-324),
        aleatoric=1e-17,
        epistemic=0.0,
        error_score=1e-300,
        abstain=True,
        abstain_reason="below_threshold",
        threshold=0.7,
        prediction_set=("A", "C"),
        coverage=0.9,
        tags=("é", "🜚"),
        idempotency_key="k",
        body_hash="b" * 64,
        question={"text": "\x00 \u202e", "options": ["a", "b"], "context": None},
    )
    bare = make_record(feu=None)
    insert(database, full, bare)
    for record in (full, bare):
        stored = find_prediction(database, record.prediction_id, None)
        assert stored is not None
        assert (stored.record, stored.label) == (record, None)


@pytest.mark.parametrize("store_questions", [True, False])
async def test_an_answer_is_stored_as_it_was_served(
    start: Start, predictor: FakePredictor, url: str, database: Database, store_questions: bool
) -> None:
    options = ("🜚 gold", "ltr \u202e rtl", "C) none")
    predictor.spoil = {"aleatoric": 0.5, "epistemic": 0.25, "error_score": 1 / 3}
    async with start(database_url=url, store_questions=store_questions, tasks=("triage", "tutoring")) as replica:
        fields: dict[str, Any] = {"context": "A passage.", "tags": ["one", "two"]}
        answers = [
            (await replica.ask("Which metal?", options, task=task, **fields)).json()
            for task in ("triage", "no such task", None)
        ]
        waiting = (await replica.client.get(f"/predictions/{answers[0]['prediction_id']}")).json()
        await replica.context.ledger.flush()
        views = [(await replica.client.get(f"/predictions/{one['prediction_id']}")).json() for one in answers]
    assert waiting == views[0]
    assert [view["task"] for view in views] == ["triage", "other", "other"]
    view, answer = views[0], answers[0]
    for field in ("prediction_id", "model", "method", "confidence", "probabilities", "feu", "uncertainty"):
        assert view[field] == answer[field]
    assert view["uncertainty"]["error_score"] == 1 / 3
    assert view["option"] == {"index": answer["option"]["index"], "label": answer["option"]["label"]}
    assert view["tags"] == ["one", "two"]
    texts = {"text": "Which metal?", "options": list(options), "context": "A passage."}
    assert view["question"] == (texts if store_questions else None)
    with database.transaction() as connection:
        rows = [dict(row) for row in connection.execute(select(predictions)).mappings()]
    assert all("metal" not in str(row) for row in rows) is not store_questions
    assert {row["bin"] for row in rows} == {min(int(answer["confidence"] * 15), 14)}
    assert {row["key_hash"] for row in rows} == {None}


async def test_a_key_is_stored_by_its_hash_and_the_tenant_with_it(start: Start) -> None:
    caller = Caller("team-a-2026", "team-a", frozenset({Scope.PREDICT}))
    async with start() as replica:
        manifest = replica.context.engine.default_manifest
        question = Question("", "Which one?", ("this", "that"))
        body = PredictRequest(question=question.text, options=list(question.options))
        served = Served(answer_to(question), manifest)
        record = record_answer(replica.context, Asked(caller, body, question), served)
    assert (record.tenant, record.key_hash) == ("team-a", hashlib.sha256(b"team-a-2026").hexdigest())
    assert record.adapter_digest == manifest.adapter_digest


async def test_the_same_key_and_body_is_answered_without_a_forward(
    start: Start, url: str, database: Database, predictor: FakePredictor
) -> None:
    async with start(database_url=url) as one, start(database_url=url) as other:
        first = await one.ask(idempotency_key="k-1", context="c", tags=["t"])
        forwards = len(predictor.batches)
        for replica in (one, other):
            again = await replica.ask(idempotency_key="k-1", context="c", tags=["t"])
            assert (again.status_code, again.json()) == (200, first.json())
        assert len(predictor.batches) == forwards
        for changes in ({"text": "Another?"}, {"context": "d"}, {"tags": []}, {"task": "x"}, {"model": "toy"}):
            fields = {"context": "c", "tags": ["t"], "idempotency_key": "k-1", **changes}
            conflict = await other.ask(**fields)  # type: ignore[arg-type]
            assert conflict.status_code == 409
            assert conflict.json()["type"] == "urn:uq4ct:problem:idempotency-conflict"
        assert (await one.ask(idempotency_key="k-2", context="c", tags=["t"])).json() != first.json()
        items = [
            {"question": "Which one?", "options": ["this", "that"], "idempotency_key": key, "context": context}
            for key, context in (("k-1", "c"), ("k-3", "c"), ("k-3", "c"), ("k-3", "d"))
        ]
        batch = (await one.client.post("/predict/batch", json={"questions": items})).json()["results"]
        assert [item.get("status", 200) for item in batch] == [409, 200, 200, 409]
        assert batch[1] == batch[2]
    assert count_rows(database)[0] == 3


async def test_of_duplicates_at_once_the_first_is_the_answer(
    start: Start, url: str, database: Database, predictor: FakePredictor
) -> None:
    async with start(database_url=url) as one, start(database_url=url) as other:
        predictor.forward_may_start.clear()  # so that no request finds another's answer before its own forward
        asked = [asyncio.create_task(replica.ask(idempotency_key="k")) for replica in (one, other) * 4]
        await one.settle(lambda: one.sample("queue_depth") or len(predictor.served_texts()) > 1)
        predictor.forward_may_start.set()
        answers = [response.json() for response in await asyncio.gather(*asked)]
        assert all(answer == answers[0] for answer in answers)
        label = await other.client.post("/feedback", json={"prediction_id": answers[0]["prediction_id"], "answer": 0})
        assert label.status_code == 200
        series = {"model": "toy", "version": "1", "task": "other"}
        counted = [replica.sample("prediction_confidence_count", **series) for replica in (one, other)]
        assert sum(number or 0 for number in counted) == 1
    assert count_rows(database) == (1, 1)


async def test_a_key_belongs_to_its_tenant(database: Database) -> None:
    mine = make_record(idempotency_key="k", body_hash="0")
    theirs = replace(make_record(), tenant="theirs", idempotency_key="k", body_hash="1")
    insert(database, mine, theirs)
    assert count_rows(database)[0] == 2


async def test_answers_of_the_fake_are_those_of_the_ledger(start: Start, url: str, database: Database) -> None:
    async with start(database_url=url) as replica:
        asked = [Question("", f"number {n}", ("a", "b", "c")) for n in range(30)]
        await asyncio.gather(*(replica.ask(question.text, question.options) for question in asked))
    with database.transaction() as connection:
        stored = connection.execute(text('SELECT confidence, feu, "option" FROM predictions')).all()
    expected = [(answer.confidence, answer.feu, answer.option) for answer in map(answer_to, asked)]
    assert sorted(map(tuple, stored)) == sorted(expected)
