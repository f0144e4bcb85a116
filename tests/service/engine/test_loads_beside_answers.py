"""A load never delays an answer by more than one step, and no step takes longer than a batch."""

from __future__ import annotations

import asyncio
import math

import pytest
from prometheus_client import CollectorRegistry

from tests.service.engine.engines import Run, question, sample, started, until
from tests.service.fake_predictor import FakeEncoded, FakeHost, FakePredictor
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.loaded import LoadedAdapter
from uq4ct.service.engine.outcomes import Outcomes
from uq4ct.service.engine.predictor import Served
from uq4ct.service.engine.waiting import Job, Ticket, WaitingWork
from uq4ct.service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


async def test_questions_are_answered_while_an_adapter_is_prepared(run: Run, host: FakeHost) -> None:
    async with run() as engine:
        host.preparing_may_end.clear()
        load = asyncio.create_task(engine.swaps.obtain("toy@2"))
        await until(lambda: len(host.preparing_threads) == 1)
        for number in range(3):
            (outcome,) = await engine.submit([question(number)])
            assert isinstance(outcome, Served)
        assert not load.done()
        host.preparing_may_end.set()
        await load


async def test_waiting_questions_are_answered_between_two_steps_of_a_load(
    run: Run, host: FakeHost, adapters: Registry, predictor: FakePredictor
) -> None:
    """The adapter is put on the base model, then a batch is answered, then the adapter is warmed up."""
    two = host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"))
    async with run() as engine:
        host.adding_may_end.clear()
        load = asyncio.create_task(engine.swaps.obtain("toy@2"))
        await until(lambda: "toy@2" in host.added)
        asked = started(engine, question(1))
        await until(lambda: sample(engine, "queue_depth") == 1)
        warm_ups_before: list[int] = []
        predictor.on_forward = lambda: warm_ups_before.append(len(two.batches))
        host.adding_may_end.set()
        await asyncio.gather(load, asked)
        assert warm_ups_before == [0]
        assert len(two.batches) == 1


async def test_a_batch_is_answered_between_two_jobs_however_many_there_are(predictor: FakePredictor) -> None:
    waiting = WaitingWork(Metrics(CollectorRegistry()))
    adapter, asked = LoadedAdapter(predictor), question(1, 40).question
    tickets = [
        Ticket(Outcomes(1), 0, adapter, FakeEncoded(asked, 40), 40, 2, since=0.0, deadline=math.inf) for _ in range(2)
    ]
    waiting.put(tickets)
    for _ in range(4):
        waiting.put_job(Job(lambda: None, asyncio.get_running_loop().create_future()))
    waiting.close()
    order: list[str] = []
    while (work := waiting.take(budget=64)) is not None:
        order.append("job" if isinstance(work, Job) else "batch")
    assert order == ["job", "batch", "job", "batch", "job", "job"]
