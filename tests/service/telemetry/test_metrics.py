from __future__ import annotations

import asyncio
import sys
from collections import Counter
from importlib import metadata

import pytest

from tests.service.conftest import Replica, Start
from tests.service.fake_predictor import FakeHost, FakePredictor, answer_to
from uq4ct.model_store.questions import Question

pytestmark = pytest.mark.anyio
MODEL = {"model": "toy", "version": "1"}
OTHER = {**MODEL, "task": "other"}


def bin_of(share: float) -> str:
    return f"{min(int(share * 15), 14):02d}"


def by_confidence(replica: Replica, label: str) -> float:
    """Return the number of answers of one bin, over both decisions."""
    name, cell = "predictions_by_confidence_total", {**OTHER, "bin": label}
    return sum(replica.sample(name, **cell, decision=decision) or 0 for decision in ("answer", "abstain"))


async def test_what_a_replica_shows_before_the_first_question(start: Start) -> None:
    async with start(tasks=("triage",), max_concurrent_requests=77, max_queue_tokens=4321) as replica:
        for task in ("triage", "other"):
            for index in range(15):
                cell = {**MODEL, "task": task, "bin": f"{index:02d}"}
                assert replica.sample("predictions_by_feu_total", **cell) == 0
                for name in ("predictions_by_confidence_total", "labelled_predictions_total"):
                    assert replica.sample(name, **cell, decision="abstain") == 0
        assert replica.sample("reference_accuracy", **MODEL) == 0.65
        assert replica.sample("model_loaded", **MODEL) == 1
        assert replica.sample("rejected_total", reason="queue_full") == 0
        assert replica.sample("queue_limit") == 77
        assert replica.sample("queue_tokens_limit") == 4321


async def test_the_metrics_say_what_is_installed(start: Start) -> None:
    async with start() as replica:
        shown = (await replica.client.get("/metrics")).text
    versions = f'python="{".".join(map(str, sys.version_info[:3]))}",version="{metadata.version("uq4ct")}"'
    assert f"uq4ct_build_info{{{versions}}} 1.0" in shown.splitlines()


async def test_the_metrics_say_whether_the_replica_is_ready(start: Start, host: FakeHost) -> None:
    host.adding_may_end.clear()
    async with start(wait=False) as replica:
        assert replica.sample("ready") == 0
        host.adding_may_end.set()
        await replica.context.ledger.wait_until_opened()
        await replica.context.engine.wait_until_loaded()
        assert replica.sample("ready") == 1
        replica.context.engine.leave()
        assert (await replica.client.get("/health/ready")).status_code == 503
        assert "uq4ct_ready 0.0" in (await replica.client.get("/metrics")).text.splitlines()


async def test_an_answer_is_counted_under_its_task_and_decision(start: Start) -> None:
    async with start(tasks=("triage",)) as replica:
        for fields in ({"task": "triage", "abstain_below": 1.0}, {"task": "no such task", "abstain_below": 0.0}):
            answer = (await replica.ask(**fields)).json()
            task = "triage" if answer["abstain"] else "other"
            cell = {**MODEL, "task": task, "bin": bin_of(answer["confidence"])}
            decision = "abstain" if answer["abstain"] else "answer"
            assert replica.sample("predictions_by_confidence_total", **cell, decision=decision) == 1
            sizes = len(answer["prediction_set"])
            assert replica.sample("prediction_set_size_sum", **MODEL, task=task) == sizes
            assert replica.sample("prediction_confidence_count", **MODEL, task=task) == 1


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
            assert by_confidence(replica, label) == confidence[label]
            assert replica.sample("predictions_by_feu_total", **OTHER, bin=label) == feu[label]
        assert replica.sample("prediction_confidence_count", **OTHER) == 40
        total = sum(answer.confidence for answer in expected)
        assert replica.sample("prediction_confidence_sum", **OTHER) == pytest.approx(total, rel=1e-12)
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
        assert by_confidence(replica, "14") == 1
        assert all(replica.sample("predictions_by_feu_total", **OTHER, bin=f"{n:02d}") == 0 for n in range(15))


async def test_a_batch_is_counted_with_its_tokens(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        predictor.forward_may_start.clear()
        first = asyncio.create_task(replica.ask("w w w", ("a", "b")))  # 5 tokens alone
        await replica.settle(predictor.served_texts)
        others = [asyncio.create_task(replica.ask("w " * words, ("a", "b"))) for words in (2, 6)]  # 4 and 8 tokens
        await replica.settle(lambda: replica.sample("queue_depth") == 2)
        assert replica.sample("queue_tokens") == 12
        predictor.forward_may_start.set()
        await asyncio.gather(first, *others)
        assert replica.sample("batch_tokens_sum") == 5 + 4 + 8
        assert replica.sample("batch_size_sum") == 3
        assert replica.sample("batch_size_count") == 2


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
