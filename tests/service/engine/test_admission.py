"""What the engine admits and rejects before any work is done, and what it drops before a forward."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.service.engine.engines import Run, hold_forward, question, sample, started, until
from tests.service.fake_predictor import FakeHost, FakePredictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.service.engine.admission import Admission, ServiceRate
from uq4ct.service.engine.failures import DeadlinePassedError, QueueFullError, RequestTooLargeError
from uq4ct.service.engine.predictor import Ask, Served

pytestmark = pytest.mark.anyio


async def test_a_refused_question_is_not_tokenised(run: Run, predictor: FakePredictor) -> None:
    async with run(questions=1) as engine:
        first = await hold_forward(engine, predictor)
        encoded = sample(engine, "stage_duration_seconds_count", stage="tokenize")
        with pytest.raises(QueueFullError, match=r"queue full \(limit: 1 questions\)"):
            await engine.submit([question(1)])
        assert sample(engine, "stage_duration_seconds_count", stage="tokenize") == encoded
        predictor.forward_may_start.set()
        await first


async def test_tokens_are_bounded_all_or_nothing_and_come_back(run: Run, predictor: FakePredictor) -> None:
    async with run(tokens=64) as engine:
        first = await hold_forward(engine, predictor)  # 3 tokens
        rest = started(engine, question(1, 40))
        await until(lambda: sample(engine, "queue_tokens") == 40)
        with pytest.raises(QueueFullError, match=r"queue full \(limit: 64 tokens\)") as refused:
            await engine.submit([question(2, 11), question(3, 11)])
        assert refused.value.limit == 64
        assert 1 <= refused.value.retry_after <= 60
        assert sample(engine, "queue_tokens") == 40  # not even the one that would have fitted
        last = started(engine, question(4, 21))
        await until(lambda: sample(engine, "queue_tokens") == 61)
        predictor.forward_may_start.set()
        await asyncio.gather(first, rest, last)
        assert all(isinstance(answer, Served) for answer in await engine.submit([question(5, 32), question(6, 32)]))
    assert sorted(text.split()[0] for batch in predictor.served_texts() for text in batch) == [
        "q0",
        "q1",
        "q4",
        "q5",
        "q6",
    ]


async def test_what_there_is_never_room_for_is_not_told_to_come_back(run: Run, predictor: FakePredictor) -> None:
    async with run(tokens=64) as engine:
        with pytest.raises(RequestTooLargeError) as refused:
            await engine.submit([question(1, 60), question(2, 5)])
        assert (refused.value.tokens, refused.value.limit) == (65, 64)
        with pytest.raises(RequestTooLargeError):
            await engine.submit([question(1, 60, "other"), question(2, 5, "other")])
    assert predictor.served_texts() == []


async def test_a_question_over_the_budget_is_refused_although_its_model_would_take_it(
    run: Run, predictor: FakePredictor
) -> None:
    async with run() as engine:
        predictor.token_limit = 1000
        (refused, taken) = await engine.submit([question(1, 65), question(2, 64)])
    assert isinstance(refused, QuestionTooLongError)
    assert (refused.length, refused.limit) == (65, 64)
    assert isinstance(taken, Served)


def test_retry_after_is_the_admitted_work_at_the_measured_rate() -> None:
    rate = ServiceRate()
    admission = Admission(10, 1000, rate)
    rate.observe(2, 100, 3.0)  # 1.5 s a question, 0.03 s a token
    with admission.reserve(10) as reservation:
        with pytest.raises(QueueFullError) as slots:
            admission.check_room(1)
        reservation.add_tokens(900)
        with pytest.raises(QueueFullError) as tokens:
            reservation.add_tokens(101)
        assert (slots.value.retry_after, tokens.value.retry_after) == (15, 27)
        rate.observe(1, 1, 100.0)
        with pytest.raises(QueueFullError) as longest:
            admission.check_room(1)
        assert longest.value.retry_after == 60
    admission.check_room(10)


async def test_what_waits_beyond_its_deadline_costs_no_forward(run: Run, predictor: FakePredictor) -> None:
    async with run(seconds=0.15) as engine:
        predictor.forward_may_start.clear()
        started_at = time.monotonic()
        first = started(engine, question(0))
        await until(predictor.served_texts)
        waiting, also_waiting = await engine.submit([question(1), question(2)])
        (running,) = await first
        assert 0.1 < time.monotonic() - started_at < 2  # the error comes while the forward still runs
        assert {type(outcome) for outcome in (running, waiting, also_waiting)} == {DeadlinePassedError}
        assert sample(engine, "queue_depth") == 0
        predictor.forward_may_start.set()
        assert isinstance((await engine.submit([question(3)]))[0], Served)
    assert predictor.served_texts() == [["q0"], ["q3"]]


async def test_the_worker_itself_drops_what_is_too_late(run: Run, predictor: FakePredictor) -> None:
    async with run(seconds=0.1) as engine:
        predictor.forward_may_start.clear()
        first = started(engine, question(0))
        await until(predictor.served_texts)
        late = started(engine, question(1))
        await until(lambda: sample(engine, "queue_depth") == 1)
        threading.Timer(0.2, predictor.forward_may_start.set).start()
        time.sleep(0.4)  # the event loop is blocked, so it removes nothing from the queue
        assert isinstance((await late)[0], DeadlinePassedError)
        await first
    assert predictor.served_texts() == [["q0"]]


async def test_a_deadline_leaves_the_answers_that_came_before_it(run: Run, predictor: FakePredictor) -> None:
    async with run(seconds=1.0) as engine:
        predictor.seconds = 0.7  # so that the second of two forwards ends too late
        outcomes = await engine.submit([question(0, 60), question(1, 60)])
    assert [type(outcome) for outcome in outcomes] == [Served, DeadlinePassedError]


async def test_a_batch_is_for_one_adapter_and_the_oldest_decides(
    run: Run, host: FakeHost, predictor: FakePredictor
) -> None:
    async with run() as engine:
        await engine.submit([question(9, reference="toy@2")])
        second = host.present["toy@2"]
        first = await hold_forward(engine, predictor)
        others = [started(engine, question(n, reference=("toy@2", "toy@1")[n % 2])) for n in range(2, 10)]
        await until(lambda: sample(engine, "queue_depth") == 8)
        second.forward_started.clear()
        second.forward_may_start.clear()
        predictor.forward_may_start.set()
        await until(second.forward_started.is_set)
        assert predictor.served_texts() == [["q0"]]  # q2 came before q3
        second.forward_may_start.set()
        answers = await asyncio.gather(*others)
        await first
    assert [answer[0].manifest.reference for answer in answers if isinstance(answer[0], Served)] == [
        "toy@2",
        "toy@1",
    ] * 4
    assert predictor.served_texts() == [["q0"], ["q3", "q5", "q7", "q9"]]
    assert second.served_texts() == [["q9"], ["q2", "q4", "q6", "q8"]]


async def test_a_long_question_among_many_short_ones_is_next_when_it_is_the_oldest(
    run: Run, predictor: FakePredictor
) -> None:
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        long = started(engine, question(1, 64))
        await until(lambda: sample(engine, "queue_depth") == 1)
        short = [started(engine, question(n)) for n in range(2, 60)]
        await until(lambda: sample(engine, "queue_depth") == 59)
        predictor.forward_may_start.set()
        await asyncio.gather(first, long, *short)
    assert predictor.served_texts()[1][0].startswith("q1 q1")


async def test_long_texts_are_tokenised_beside_the_event_loop(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.tokenizer_threads.clear()
        await engine.submit([question(1)])
        assert predictor.tokenizer_threads == {threading.current_thread().name}
        predictor.tokenizer_threads.clear()
        (answer, _) = await engine.submit([Ask(Question("", "x" * 5000, ("a", "b"))), question(1)])
        assert predictor.tokenizer_threads == {"tokenizer_0"}
    assert isinstance(answer, Served)
