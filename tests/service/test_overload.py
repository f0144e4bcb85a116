"""Overload: the queue stays bounded, rejections are fast, and admitted questions are answered."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter

import pytest

from tests.service.conftest import Start
from tests.service.engine.engines import Run, question, sample
from tests.service.fake_predictor import FakePredictor
from uq4ct.service.engine.engine import Engine
from uq4ct.service.engine.failures import QueueFullError
from uq4ct.service.engine.predictor import Served

pytestmark = pytest.mark.anyio
SLOTS = 24
SECONDS = 0.02  # of a forward, which holds 21 questions of 3 tokens


async def test_ten_times_what_the_engine_can_do(run: Run, predictor: FakePredictor) -> None:
    refusals: list[float] = []
    retries: list[int] = []
    waits: list[float] = []
    deepest = 0.0

    async def client(engine: Engine, number: int) -> None:
        begun = time.monotonic()
        try:
            (outcome,) = await engine.submit([question(number)])
        except QueueFullError as error:
            retries.append(error.retry_after)
            refusals.append(time.monotonic() - begun)
        else:
            assert isinstance(outcome, Served)
            waits.append(time.monotonic() - begun)

    async with run(questions=SLOTS, tokens=100) as engine:
        predictor.seconds = SECONDS
        clients: list[asyncio.Task[None]] = []
        for burst in range(40):
            clients += [asyncio.create_task(client(engine, burst * 50 + n)) for n in range(50)]
            await asyncio.sleep(SECONDS / 2)
            deepest = max(deepest, sample(engine, "queue_depth") or 0.0)
        await asyncio.gather(*clients)
        answered = [text for batch in predictor.served_texts() for text in batch]
        assert sample(engine, "queue_depth") == sample(engine, "queue_tokens") == 0
    assert len(refusals) + len(waits) == 2000
    assert len(refusals) > 3 * len(waits)
    assert deepest <= SLOTS
    assert len(answered) == len(set(answered)) == len(waits)  # rejected questions cost no forward
    assert 1 <= min(retries) <= max(retries) <= 60
    assert statistics.median(refusals) < 0.05


async def test_overload_is_429_and_what_was_admitted_is_answered(start: Start, predictor: FakePredictor) -> None:
    async with start(max_concurrent_requests=8, max_client_batch_size=1) as replica:
        predictor.seconds = SECONDS
        responses = await asyncio.gather(*(replica.ask(f"q{n}", ("a", "b")) for n in range(100)))
        assert (await replica.client.get("/health/ready")).status_code == 200
        codes = Counter(response.status_code for response in responses)
        assert set(codes) == {200, 429}
        assert codes[200] >= 8
        assert codes[429] == replica.sample("rejected_total", reason="queue_full")
        answered = [text for batch in predictor.served_texts() for text in batch]
    assert len(answered) == codes[200]


async def test_a_batch_over_the_tokens_is_refused_whole(start: Start, predictor: FakePredictor) -> None:
    async with start(max_queue_tokens=64, max_batch_tokens=64) as replica:
        predictor.forward_may_start.clear()
        first = asyncio.create_task(replica.ask("w " * 58, ("a", "b")))
        await replica.settle(predictor.served_texts)
        item = {"question": "one two", "options": ["a", "b"]}
        response = await replica.post("/predict/batch", {"questions": [item, item]})
        assert (response.status_code, response.json()["type"]) == (429, "urn:uq4ct:problem:queue-full")
        assert response.json()["limit"] == 64
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert replica.sample("rejected_total", reason="queue_full") == 2
        never = await replica.post("/predict/batch", {"questions": [item] * 17})
        assert (never.status_code, never.json()["type"]) == (413, "urn:uq4ct:problem:too-large")
        assert (never.json()["tokens"], never.json()["limit"]) == (68, 64)
        predictor.forward_may_start.set()
        assert (await first).status_code == 200
        assert (await replica.post("/predict/batch", {"questions": [item] * 16})).status_code == 200


async def test_a_passed_deadline_is_a_problem_and_counted(start: Start, predictor: FakePredictor) -> None:
    async with start(request_timeout_seconds=0.1) as replica:
        predictor.forward_may_start.clear()
        first, second = await asyncio.gather(replica.ask("first"), replica.ask("second"))
        for response in (first, second):
            assert (response.status_code, response.json()["type"]) == (504, "urn:uq4ct:problem:deadline-passed")
        item = {"question": "one two", "options": ["a", "b"]}
        batch = await replica.post("/predict/batch", {"questions": [item, {"question": ""}]})
        assert batch.status_code == 200
        assert [result["status"] for result in batch.json()["results"]] == [504, 422]
        assert replica.sample("rejected_total", reason="deadline_passed") == 3
        assert replica.sample("queue_depth") == 0
        predictor.forward_may_start.set()
        assert (await replica.ask("third")).status_code == 200
    assert len(predictor.served_texts()) == 2
