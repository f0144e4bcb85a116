"""Which questions share a batch when they are for several adapters, and whose answers they get."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.engine.engines import Run, hold_forward, question, sample, started, until
from tests.service.fake_predictor import FakeHost, FakePredictor, answer_to
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.failures import ForwardFailedError
from uq4ct.service.engine.predictor import Served

pytestmark = pytest.mark.anyio


@pytest.fixture
def two(host: FakeHost, adapters: Registry) -> FakePredictor:
    host.given["toy@2"] = FakePredictor(adapters.manifest("toy@2"))
    return host.given["toy@2"]


async def ask_both(run: Run, predictor: FakePredictor, **limits: int) -> list[Served]:
    """Queue questions to toy@1 and toy@2 in turns behind a forward, and check that each gets its own answer."""
    references = ["toy@2", "toy@1", "toy@2", "toy@1"]
    async with run(**limits) as engine:
        await engine.swaps.obtain("toy@2")
        first = await hold_forward(engine, predictor)
        asked = []
        for number, reference in enumerate(references, start=1):
            asked.append(started(engine, question(number, 7 - number, reference)))
            await until(lambda number=number: sample(engine, "queue_depth") == number)
        predictor.forward_may_start.set()
        outcomes = [outcome for (outcome,) in await asyncio.gather(first, *asked)]
    served = [outcome for outcome in outcomes if isinstance(outcome, Served)]
    assert [one.manifest.reference for one in served] == ["toy@1", *references]
    for number, one in enumerate(served[1:], start=1):
        asked_for = question(number, 7 - number).question
        assert one.answer == answer_to(asked_for, one.manifest.version)
    return served


async def test_adapters_of_one_company_share_a_batch(run: Run, predictor: FakePredictor, two: FakePredictor) -> None:
    predictor.company = two.company = "shape"
    await ask_both(run, predictor)
    texts = {reference: [asked.text.split()[0] for asked in own] for reference, own in two.shared[0]}
    assert texts == {"toy@2": ["q3", "q1"], "toy@1": ["q4", "q2"]}  # neighbours, each with the shortest first
    assert len(two.shared) == 1
    assert predictor.shared == []  # a batch of one adapter is its own


@pytest.mark.parametrize("companies", [(None, None), ("one", "other"), ("one", None)])
async def test_others_have_batches_of_their_own(
    run: Run, predictor: FakePredictor, two: FakePredictor, companies: tuple[str | None, str | None]
) -> None:
    predictor.company, two.company = companies
    await ask_both(run, predictor)
    assert predictor.shared == two.shared == []
    assert [len(batch) for batch in two.served_texts()] == [2]


async def test_the_tokens_of_a_shared_batch_are_limited(run: Run, predictor: FakePredictor, two: FakePredictor) -> None:
    predictor.company = two.company = "shape"
    two.token_limit = predictor.token_limit = 12
    await ask_both(run, predictor, batch_tokens=12)  # of 6, 5, 4 and 3
    assert [sum(len(own) for _, own in batch) for batch in two.shared] == [2, 2]


async def test_an_adapter_that_fails_does_not_fail_the_others(
    run: Run, predictor: FakePredictor, two: FakePredictor
) -> None:
    predictor.company = two.company = "shape"
    async with run() as engine:
        await engine.swaps.obtain("toy@2")
        first = await hold_forward(engine, predictor)
        asked = [started(engine, question(n, reference=f"toy@{n}")) for n in (1, 2)]
        await until(lambda: sample(engine, "queue_depth") == 2)
        two.failures_to_come = 2  # with the other, and alone
        predictor.forward_may_start.set()
        one, other = [outcome for (outcome,) in await asyncio.gather(*asked)]
        await first
    assert len(predictor.shared) == 1
    assert isinstance(one, Served)
    assert isinstance(other, ForwardFailedError)
