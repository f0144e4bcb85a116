from __future__ import annotations

import asyncio
import math
from itertools import chain

import pytest

from tests.service.engine.engines import Run, hold_forward, make_engine, question, sample, started, until
from tests.service.fake_predictor import TOKEN_LIMIT, FakeHost, FakePredictor, answer_to, words_of
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.engine import State
from uq4ct.service.engine.failures import (
    BudgetTooSmallError,
    DrainingError,
    ForwardFailedError,
    NotReadyError,
    QueueFullError,
)
from uq4ct.service.engine.predictor import Ask, Served

pytestmark = pytest.mark.anyio


async def test_a_hundred_callers_get_their_own_answers(run: Run, predictor: FakePredictor) -> None:
    asked = [question(index, 3 + index % 20) for index in range(100)]
    async with run() as engine:
        answers = await asyncio.gather(*(engine.submit([one]) for one in asked))
    assert answers == [[Served(answer_to(one.question), predictor.manifest)] for one in asked]
    assert predictor.threads == {"model-worker"}


async def test_what_waits_goes_together_and_within_the_budget(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        others = [started(engine, question(index, 3 + index % 9)) for index in range(1, 40)]
        await until(lambda: sample(engine, "queue_depth") == 39)
        predictor.forward_may_start.set()
        await asyncio.gather(first, *others)
    served = [batch for batch in predictor.batches if batch[0].id != "warm-up"]
    batches = [[words_of(one) for one in batch] for batch in served[1:]]
    assert all(sum(batch) <= TOKEN_LIMIT for batch in batches)
    assert sum(map(len, batches)) == 39
    assert len(batches) == 5  # 268 tokens
    turns = [sorted(int(text.split()[0][1:]) for text in batch) for batch in predictor.served_texts()[1:]]
    assert list(chain.from_iterable(turns)) == list(range(1, 40))  # oldest first, and within a batch shortest first
    assert all(batch == sorted(batch) for batch in batches)


async def test_rows_of_all_passes_are_within_the_budget_and_what_cannot_be_goes_alone(
    run: Run, predictor: FakePredictor
) -> None:
    predictor.passes = passes = 6
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        others = [started(engine, question(index, 3 + index % 12)) for index in range(1, 40)]
        await until(lambda: sample(engine, "queue_depth") == 39)
        assert sample(engine, "queue_tokens") == passes * sum(3 + index % 12 for index in range(1, 40))
        predictor.forward_may_start.set()
        answers = await asyncio.gather(first, *others)
        assert sample(engine, "batch_tokens_sum") == sum(
            passes * sum(map(words_of, batch)) for batch in predictor.batches if batch[0].id != "warm-up"
        )
    assert all(isinstance(answer, Served) for (answer,) in answers)
    served = [batch for batch in predictor.batches if batch[0].id != "warm-up"]
    batches = [[words_of(one) for one in batch] for batch in served]
    together = [batch for batch in batches if len(batch) > 1]
    assert all(passes * sum(batch) <= TOKEN_LIMIT for batch in together)
    assert together
    assert {max(batch) for batch in batches if len(batch) == 1} >= {11, 12, 13, 14}  # 6 rows of 11 exceed 64


async def test_what_would_fill_a_batch_is_not_overtaken_by_younger_ones(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        older = [started(engine, question(index, 30)) for index in range(1, 4)]  # 90 tokens: more than a batch has
        younger = [started(engine, question(index, 3)) for index in range(4, 30)]
        await until(lambda: sample(engine, "queue_depth") == 29)
        predictor.forward_may_start.set()
        await asyncio.gather(first, *older, *younger)
    _, *batches = predictor.served_texts()
    assert [text.split()[0] for text in batches[0]] == ["q1", "q2"]  # the third may wait, but not behind the short ones
    assert batches[1][-1].split()[0] == "q3"


async def test_a_lone_question_waits_for_no_company(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        await asyncio.wait_for(engine.submit([question(1)]), 2)
    assert predictor.served_texts() == [["q1"]]


async def test_a_question_is_too_long_for_itself_alone(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        short, long, broken = await engine.submit(
            [question(1), question(2, TOKEN_LIMIT + 1), Ask(Question("", "break the tokenizer", ("a", "b")))]
        )
    assert isinstance(short, Served)
    assert isinstance(long, QuestionTooLongError)
    assert (long.length, long.limit) == (TOKEN_LIMIT + 1, TOKEN_LIMIT)
    assert isinstance(broken, KeyError)


async def test_a_question_as_long_as_the_budget_is_answered_among_short_ones(
    run: Run, predictor: FakePredictor
) -> None:
    async with run() as engine:
        answers = await engine.submit([question(0), question(1, TOKEN_LIMIT), *(question(n) for n in range(2, 30))])
    assert all(isinstance(answer, Served) for answer in answers)


async def test_slots_are_all_or_nothing_and_come_back(run: Run, predictor: FakePredictor) -> None:
    async with run(questions=3) as engine:
        first = await hold_forward(engine, predictor)
        with pytest.raises(QueueFullError):
            await engine.submit([question(1), question(2), question(3)])
        pair = started(engine, question(1), question(2))
        await until(lambda: sample(engine, "queue_depth") == 2)
        with pytest.raises(QueueFullError) as refused:
            await engine.submit([question(3)])
        assert 1 <= refused.value.retry_after <= 60
        predictor.forward_may_start.set()
        await asyncio.gather(first, pair)
        assert len(await engine.submit([question(3), question(4), question(5)])) == 3


async def test_cancelled_questions_cost_no_forward_and_no_slot(run: Run, predictor: FakePredictor) -> None:
    async with run(questions=3) as engine:
        first = await hold_forward(engine, predictor)
        gone = started(engine, question(1), question(2))
        await until(lambda: sample(engine, "queue_depth") == 2)
        gone.cancel()
        await until(lambda: gone.done() and sample(engine, "queue_depth") == 0)
        last = started(engine, question(3), question(4))
        predictor.forward_may_start.set()
        await asyncio.gather(first, last)
    assert sorted(text for batch in predictor.served_texts() for text in batch) == ["q0", "q3", "q4"]


async def test_a_failed_forward_fails_its_batch_and_nothing_else(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.failures_to_come = 1
        assert [type(answer) for answer in await engine.submit([question(1)])] == [ForwardFailedError]
        assert engine.state is State.READY
        assert [type(answer) for answer in await engine.submit([question(1)])] == [Served]


async def test_a_model_that_keeps_failing_is_not_ready_until_it_answers(run: Run, predictor: FakePredictor) -> None:
    async with run() as engine:
        predictor.failures_to_come = 3
        for _ in range(3):
            await engine.submit([question(1)])
        assert engine.state is State.FAILING
        await engine.submit([question(1)])
        assert engine.state is State.READY


async def test_a_model_that_answers_again_is_ready_without_a_question(run: Run, predictor: FakePredictor) -> None:
    """A load balancer sends nothing to a replica that is not ready."""
    async with run(probe=0.02) as engine:
        predictor.failures_to_come = 5
        for _ in range(3):
            await engine.submit([question(1)])
        assert engine.state is State.FAILING
        await until(lambda: engine.state is State.READY)
        assert predictor.failures_to_come == 0
        probes = len(predictor.batches)
        await asyncio.sleep(0.1)
        assert len(predictor.batches) == probes


@pytest.mark.parametrize(
    "spoilt",
    [
        {"confidence": math.nan},
        {"probabilities": (math.nan, 0.5)},
        {"probabilities": (0.5, 0.4)},
        {"probabilities": (0.5, 0.25, 0.25)},
        {"option": 2},
        {"total": math.inf},
        {"feu": 1.1},
        {"epistemic": -0.1},
        {"error_score": math.nan},
        {"error_score": -math.inf},
    ],
)
async def test_numbers_that_are_no_answer_never_leave(
    run: Run, predictor: FakePredictor, spoilt: dict[str, float]
) -> None:
    async with run() as engine:
        predictor.spoil = spoilt
        (answer,) = await engine.submit([question(1)])
        assert isinstance(answer, ForwardFailedError)
        predictor.spoil = {"feu": 1.0000004, "error_score": -12.5}  # a rounding error of fp32 masses; any number
        assert isinstance((await engine.submit([question(1)]))[0], Served)


async def test_a_budget_below_the_token_limit_is_named(run: Run, predictor: FakePredictor) -> None:
    with pytest.raises(BudgetTooSmallError, match=r"MAX_BATCH_TOKENS must be at least 64 .* toy@1 \(got 63\)"):
        async with run(batch_tokens=TOKEN_LIMIT - 1):
            pass


async def test_passes_count_against_the_queue_and_not_against_the_length_of_a_question(
    run: Run, predictor: FakePredictor
) -> None:
    predictor.passes = 5
    async with run(tokens=5 * TOKEN_LIMIT) as engine:  # a batch holds a fifth of that
        (answer,) = await engine.submit([question(1, TOKEN_LIMIT)])
        assert isinstance(answer, Served)
        (refused,) = await engine.submit([question(1, TOKEN_LIMIT + 1)])
        assert isinstance(refused, QuestionTooLongError)
    with pytest.raises(
        BudgetTooSmallError, match=r"QUEUE_TOKENS must be at least 320 .* toy@1, 64 tokens .* 5 passes \(got 319\)"
    ):
        async with run(tokens=5 * TOKEN_LIMIT - 1):
            pass


async def test_nothing_is_taken_before_loading_or_while_draining(
    run: Run, predictor: FakePredictor, host: FakeHost, adapters: Registry
) -> None:
    engine = make_engine(host.load, adapters)
    with pytest.raises(NotReadyError, match="loading"):
        await engine.submit([question(1)])
    async with run() as engine:
        first = await hold_forward(engine, predictor)
        draining = asyncio.create_task(engine.drain())
        await asyncio.sleep(0)
        assert engine.state is State.DRAINING
        with pytest.raises(DrainingError):
            await engine.submit([question(1)])
        assert not draining.done()
        predictor.forward_may_start.set()
        await draining
        assert isinstance((await first)[0], Served)
