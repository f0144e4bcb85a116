from __future__ import annotations

import asyncio
import math
import uuid
from typing import Any

import pytest

from tests.answers import shown
from tests.service.conftest import Start
from tests.service.fake_predictor import FakePredictor, answer_to
from uq4ct.model_store.questions import Question

pytestmark = pytest.mark.anyio


async def test_an_answer_says_everything_of_the_contract(start: Start) -> None:
    options = ("🜚 gold", "ltr \u202e rtl", "C) none")
    expected = answer_to(Question("", "Which metal?", options, "A passage."))
    async with start() as replica:
        response = await replica.ask("Which metal?", options, context="A passage.")
    assert response.status_code == 200
    answer = response.json()
    identifier = uuid.UUID(answer.pop("prediction_id"))
    assert identifier.version == 7
    assert answer == {
        "model": "toy@1",
        "method": "uq4ct",
        **shown(expected, options),
        "abstain": expected.confidence < 0.6,
        "abstain_reason": "below_threshold" if expected.confidence < 0.6 else None,
        "threshold": 0.6,
        "prediction_set": [
            label
            for label, p in zip("ABC", expected.probabilities, strict=True)
            if p >= 0.5 or p == expected.confidence  # the second of three scores: 1 - p <= 0.5
        ],
        "coverage": 0.5,
    }
    assert math.fsum(item["probability"] for item in answer["probabilities"]) == pytest.approx(1, abs=1e-12)


async def test_an_error_score_is_shown_as_the_method_gave_it(start: Start, predictor: FakePredictor) -> None:
    predictor.spoil = {"aleatoric": 0.25, "epistemic": 0.125, "error_score": 41.75}
    async with start() as replica:
        uncertainty = (await replica.ask()).json()["uncertainty"]
    assert uncertainty["error_score"] == 41.75
    assert (uncertainty["aleatoric"], uncertainty["epistemic"]) == (0.25, 0.125)


async def test_a_request_brings_its_own_threshold_and_coverage(start: Start) -> None:
    question = Question("", "Which one?", ("this", "that"))
    confidence = answer_to(question).confidence
    async with start() as replica:
        sure = (await replica.ask(abstain_below=confidence, coverage=1.0)).json()
        unsure = (await replica.ask(abstain_below=1.0, coverage=0.0)).json()
    assert (sure["abstain"], sure["abstain_reason"], sure["threshold"]) == (False, None, confidence)
    assert (sure["prediction_set"], sure["coverage"]) == (["A", "B"], 1.0)
    assert (unsure["abstain"], unsure["abstain_reason"], unsure["threshold"]) == (True, "below_threshold", 1.0)
    assert (unsure["prediction_set"], unsure["coverage"]) == ([unsure["option"]["label"]], 0.0)


@pytest.mark.parametrize("field", ["abstain_below", "coverage"])
@pytest.mark.parametrize("value", [-0.1, 1.1, "high", True])
async def test_a_threshold_or_a_coverage_is_a_probability(start: Start, field: str, value: Any) -> None:
    async with start() as replica:
        problem = (await replica.ask(**{field: value})).json()
    assert (problem["status"], problem["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("model", ["toy", "toy@1", "toy@production", None])
async def test_the_loaded_model_goes_by_several_names(start: Start, model: str | None) -> None:
    async with start() as replica:
        assert (await replica.ask(model=model)).json()["model"] == "toy@1"


@pytest.mark.parametrize(
    ("model", "answering"),
    [("toy@2", "toy@2"), ("toy@staging", "toy@2"), ("other", "other@1"), ("other@1", "other@1"), ("toy", "toy@1")],
)
async def test_another_model_is_loaded_when_it_is_asked(start: Start, model: str, answering: str) -> None:
    question = Question("", "Which one?", ("this", "that"))
    async with start() as replica:
        answer = (await replica.ask(model=model)).json()
        assert (await replica.ask()).json()["model"] == "toy@1"
    assert answer["model"] == answering
    assert answer["confidence"] == answer_to(question, int(answering[-1])).confidence


@pytest.mark.parametrize("default", ["toy@2", "toy@staging"])
async def test_a_version_that_is_not_production_does_not_take_the_name(start: Start, default: str) -> None:
    async with start(default_model=default) as replica:
        assert (await replica.ask()).json()["model"] == "toy@2"
        assert (await replica.ask(model="toy")).json()["model"] == "toy@1"
        assert (await replica.ask()).json()["model"] == "toy@2"


async def test_prediction_ids_are_in_the_order_of_time(start: Start) -> None:
    async with start() as replica:
        ids = [(await replica.ask()).json()["prediction_id"] for _ in range(20)]
    assert ids == sorted(set(ids))


async def test_concurrent_clients_get_their_own_answers(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        responses = await asyncio.gather(*(replica.ask(f"number {n}", (f"{n}", f"not {n}")) for n in range(60)))
    for n, response in enumerate(responses):
        expected = answer_to(Question("", f"number {n}", (f"{n}", f"not {n}")))
        assert response.json()["confidence"] == expected.confidence
        assert response.json()["option"]["index"] == expected.option
    assert len(predictor.batches) < 60


async def test_a_batch_answers_each_question_by_itself(start: Start) -> None:
    items = [
        {"question": "fine?", "options": ["yes", "no"]},
        {"question": "fine?", "options": ["yes"]},
        {"question": "fine?", "options": ["yes", "no"], "sure": True},
        "not an object",
        {"question": "long " * 70, "options": ["yes", "no"]},
        {"question": "fine?", "options": ["yes", "no"], "model": "nobody"},
        {"question": "break the tokenizer", "options": ["yes", "no"]},
        {"question": "also fine?", "options": ["yes", "no"]},
    ]
    async with start() as replica:
        response = await replica.client.post("/predict/batch", json={"questions": items})
        assert response.status_code == 200
        results = response.json()["results"]
        assert replica.sample("rejected_total", reason="question_too_long") == 1
    slugs = [result.get("type", "").rpartition(":")[2] for result in results]
    assert slugs == [
        "",
        "invalid-field",
        "invalid-field",
        "invalid-field",
        "question-too-long",
        "unknown-model",
        "internal-error",
        "",
    ]
    assert [error["field"] for error in results[1]["errors"] + results[2]["errors"]] == ["options", "sure"]
    assert (results[4]["tokens"], results[4]["limit"]) == (72, 64)
    assert {result["request_id"] for result in results if "type" in result} == {response.headers["x-request-id"]}
    for index, text in ((0, "fine?"), (7, "also fine?")):
        assert results[index]["confidence"] == answer_to(Question("", text, ("yes", "no"))).confidence


async def test_single_and_batch_give_the_same_answer(start: Start) -> None:
    async with start() as replica:
        single = (await replica.ask()).json()
        batch = await replica.client.post(
            "/predict/batch", json={"questions": [{"question": "Which one?", "options": ["this", "that"]}]}
        )
    (item,) = batch.json()["results"]
    del single["prediction_id"], item["prediction_id"]
    assert single == item
