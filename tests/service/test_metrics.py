from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from model_store.questions import Question
from tests.service.conftest import Start
from tests.service.fake_predictor import FakePredictor, answer_to

pytestmark = pytest.mark.anyio
MODEL = {"model": "toy", "version": "1"}


def bin_of(share: float) -> str:
    return f"{min(int(share * 15), 14):02d}"


async def test_every_bin_is_there_at_zero_on_load(start: Start) -> None:
    async with start() as replica:
        for index in range(15):
            for name in ("predictions_by_confidence_total", "predictions_by_feu_total"):
                assert replica.sample(name, **MODEL, bin=f"{index:02d}") == 0
        assert replica.sample("prediction_confidence_count", **MODEL) == 0
        assert replica.sample("model_loaded", **MODEL) == 1
        assert replica.sample("rejected_total", reason="queue_full") == 0


async def test_answers_are_counted_exactly_as_served(start: Start) -> None:
    asked = [Question("", f"number {n}", ("a", "b", "c")) for n in range(40)]
    expected = [answer_to(question) for question in asked]
    async with start() as replica:
        await asyncio.gather(*(replica.ask(question.text, question.options) for question in asked[:30]))
        items = [{"question": question.text, "options": question.options} for question in asked[30:]]
        await replica.client.post("/predict/batch", json={"questions": items})
        await replica.ask("refused", ("one",))
        confidence = Counter(bin_of(answer.confidence) for answer in expected)
        feu = Counter(bin_of(answer.feu or 0.0) for answer in expected)
        for index in range(15):
            label = f"{index:02d}"
            assert replica.sample("predictions_by_confidence_total", **MODEL, bin=label) == confidence[label]
            assert replica.sample("predictions_by_feu_total", **MODEL, bin=label) == feu[label]
        assert replica.sample("prediction_confidence_count", **MODEL) == 40
        total = sum(answer.confidence for answer in expected)
        assert replica.sample("prediction_confidence_sum", **MODEL) == pytest.approx(total, rel=1e-12)
        assert replica.sample("requests_total", route="/predict", code="200") == 30
        assert replica.sample("requests_total", route="/predict", code="422") == 1
        assert replica.sample("requests_total", route="/predict/batch", code="200") == 1
        assert replica.sample("request_duration_seconds_count", route="/predict") == 31
        assert replica.sample("stage_duration_seconds_count", stage="queue") == 40
        assert replica.sample("stage_duration_seconds_count", stage="tokenize") == 40
        assert replica.sample("batch_size_sum") == 40
        assert replica.sample("batch_size_count") == replica.sample("stage_duration_seconds_count", stage="forward")
        assert replica.sample("queue_depth") == 0
        assert replica.sample("queue_tokens") == 0


async def test_certainty_falls_into_the_last_bin_and_no_feu_into_none(start: Start, predictor: FakePredictor) -> None:
    predictor.spoil = {"option": 0, "confidence": 1.0, "probabilities": (1.0, 0.0), "total": 0.0, "feu": None}  # type: ignore[dict-item]
    async with start() as replica:
        response = await replica.ask()
        assert response.json()["feu"] is None
        assert replica.sample("predictions_by_confidence_total", **MODEL, bin="14") == 1
        assert all(replica.sample("predictions_by_feu_total", **MODEL, bin=f"{n:02d}") == 0 for n in range(15))


async def test_a_batch_is_counted_with_its_padding(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        predictor.forward_may_start.clear()
        first = asyncio.create_task(replica.ask("w w w", ("a", "b")))  # 5 tokens alone
        await replica.settle(predictor.served_texts)
        others = [asyncio.create_task(replica.ask("w " * words, ("a", "b"))) for words in (2, 6)]  # 4 and 8 tokens
        await replica.settle(lambda: replica.sample("queue_depth") == 2)
        assert replica.sample("queue_tokens") == 12
        predictor.forward_may_start.set()
        await asyncio.gather(first, *others)
        assert replica.sample("batch_tokens_sum") == 5 + 2 * 8
        assert replica.sample("batch_padding_ratio_sum") == pytest.approx(4 / 16)


async def test_the_exposition_has_the_prefix_and_no_text_of_a_client(start: Start) -> None:
    async with start() as replica:
        await replica.ask("private words")
        await replica.client.get("/private-path")
        await replica.client.get("/models/toy@1")
        response = await replica.client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = [line for line in response.text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("uq4ct_") for line in samples)
    assert 'uq4ct_requests_total{code="200",route="/models/{name}"} 1.0' in samples
    assert "private" not in response.text
