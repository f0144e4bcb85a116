"""Failing forwards and threads: only the current work is lost, and no request hangs."""

from __future__ import annotations

import asyncio
import threading

import pytest
import torch

from tests.service.conftest import Start
from tests.service.engine.engines import Run, hold_forward, question, sample, started, until
from tests.service.fake_predictor import FakeEncoded, FakePredictor, answer_to
from uq4ct.service.engine.engine import State
from uq4ct.service.engine.failures import ForwardFailedError, LoadFailedError, NotReadyError
from uq4ct.service.engine.predictor import Served

pytestmark = pytest.mark.anyio


class BrokenCount(int):
    """A number of tokens that cannot be added in the worker's thread: an unforeseen error."""

    def __mul__(self, passes: int) -> BrokenCount:
        return BrokenCount(super().__mul__(passes))

    def __radd__(self, other: int) -> int:
        if threading.current_thread().name == "model-worker":
            raise ArithmeticError("broken")
        return other + int(self)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("could not create a primitive"),
    ],
    ids=["cuda", "python", "cpu", "onednn"],
)
async def test_a_batch_without_memory_is_tried_in_halves(run: Run, predictor: FakePredictor, error: Exception) -> None:
    asked = [question(n) for n in range(1, 12)]
    predictor.most_questions, predictor.no_memory = 3, error
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        answers = started(engine, *asked)
        await until(lambda: sample(engine, "queue_depth") == 11)
        predictor.forward_may_start.set()
        assert await answers == [Served(answer_to(one.question), predictor.manifest) for one in asked]
        await first
        assert engine.state is State.READY
    assert [len(batch) for batch in predictor.served_texts()] == [1, 11, 5, 2, 3, 6, 3, 3]


async def test_after_a_batch_without_memory_the_next_ones_are_smaller(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.most_questions = 3
        first = await hold_forward(engine, predictor)
        answers = started(engine, *(question(n) for n in range(1, 12)))
        await until(lambda: sample(engine, "queue_depth") == 11)
        predictor.forward_may_start.set()
        await asyncio.gather(first, answers)
        tried = len(predictor.served_texts())
        await engine.submit([question(n) for n in range(12, 18)])
    assert [len(batch) for batch in predictor.served_texts()[tried:]] == [3, 3]


async def test_a_load_survives_that_its_measurement_does_not_fit_in_memory(run: Run, predictor: FakePredictor) -> None:
    predictor.most_questions = 1
    async with run() as engine:
        (answer,) = await engine.submit([question(1)])
    assert isinstance(answer, Served)


async def test_a_single_question_without_memory_fails_alone(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.most_questions = 0
        outcomes = await engine.submit([question(1), question(2)])
        assert {type(outcome) for outcome in outcomes} == {ForwardFailedError}
        predictor.most_questions = 1
        assert {type(outcome) for outcome in await engine.submit([question(1), question(2)])} == {Served}


async def test_another_error_is_not_tried_again(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.most_questions, predictor.no_memory = 1, RuntimeError("shapes do not match")
        outcomes = await engine.submit([question(1), question(2)])
        assert {type(outcome) for outcome in outcomes} == {ForwardFailedError}
        assert predictor.served_texts() == [["q1", "q2"]]


async def test_a_thread_that_breaks_fails_what_it_had_in_hand_and_goes_on(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        second = started(engine, question(1))
        await until(lambda: sample(engine, "queue_depth") == 1)
        predictor.most_questions, predictor.no_memory = 0, SystemExit()
        predictor.forward_may_start.set()
        assert isinstance((await first)[0], ForwardFailedError)
        assert isinstance((await second)[0], ForwardFailedError)
        assert engine.state is State.READY
        predictor.most_questions = 1
        assert isinstance((await engine.submit([question(2)]))[0], Served)


async def test_tickets_that_break_the_choice_of_a_batch_are_not_tried_for_ever(
    run: Run, predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        with monkeypatch.context() as patch:
            patch.setattr(predictor, "encode", lambda asked: FakeEncoded(asked, BrokenCount(30)))
            others = [started(engine, question(1))]
            await until(lambda: sample(engine, "queue_depth") == 1)
        others.append(started(engine, question(2)))
        await until(lambda: sample(engine, "queue_depth") == 2)
        predictor.forward_may_start.set()
        outcomes = [(await other)[0] for other in others]
        assert {type(outcome) for outcome in outcomes} == {ForwardFailedError}
        assert sample(engine, "queue_depth") == 0
        assert isinstance((await first)[0], Served)
        assert isinstance((await engine.submit([question(3)]))[0], Served)


async def test_a_thread_that_keeps_breaking_ends_and_nobody_hangs(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.most_questions, predictor.no_memory = 0, SystemExit()
        first = await hold_forward(engine, predictor)
        others = [started(engine, question(n, 40)) for n in range(1, 6)]  # one forward each
        await until(lambda: sample(engine, "queue_depth") == 5)
        predictor.forward_may_start.set()
        outcomes = [(await other)[0] for other in (first, *others)]
        assert {type(outcome) for outcome in outcomes} == {ForwardFailedError}
        assert len(predictor.served_texts()) == 3
        assert engine.state is State.DEAD
        with pytest.raises(NotReadyError, match="dead"):
            await engine.submit([question(1)])
        with pytest.raises(LoadFailedError):
            await engine.swaps.obtain("toy@2")


async def test_a_dead_worker_is_not_ready_and_says_so(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        predictor.most_questions, predictor.no_memory = 0, SystemExit()
        for _ in range(3):
            assert (await replica.ask()).json()["type"] == "urn:uq4ct:problem:forward-failed"
        await replica.settle(lambda: replica.context.engine.state is State.DEAD)
        for response in (await replica.client.get("/health/ready"), await replica.ask()):
            assert response.json()["type"] == "urn:uq4ct:problem:not-ready"
        assert (await replica.client.get("/health/live")).status_code == 200


async def test_forwards_that_keep_dying_turn_ready_off_and_one_that_works_on(
    start: Start, predictor: FakePredictor
) -> None:
    async with start() as replica:
        predictor.failures_to_come = 3
        for _ in range(3):
            assert (await replica.ask()).json()["type"] == "urn:uq4ct:problem:forward-failed"
        assert (await replica.client.get("/health/ready")).status_code == 503
        assert (await replica.ask()).status_code == 200
        assert (await replica.client.get("/health/ready")).status_code == 200


async def test_a_cancelled_request_does_not_disturb_the_batch_it_is_in(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.forward_may_start.clear()
        gone = started(engine, question(1))
        await until(predictor.served_texts)
        gone.cancel()
        await asyncio.wait([gone])
        predictor.forward_may_start.set()
        assert isinstance((await engine.submit([question(2)]))[0], Served)
        assert not any(adapter.holders for adapter in engine.loaded)
