"""What happens when more adapters are in use than fit in memory."""

from __future__ import annotations

import asyncio

import pytest

from tests.service.engine.engines import Run, question, sample
from uq4ct.service.engine.failures import ModelEvictedError
from uq4ct.service.engine.predictor import Served
from uq4ct.service.engine.reloads import ReloadSchedule

pytestmark = pytest.mark.anyio


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the schedule, in a list of one."""
    clock = [1000.0]
    monkeypatch.setattr(ReloadSchedule, "_now", staticmethod(lambda: clock[0]))
    return clock


@pytest.fixture
def schedule(now: list[float]) -> ReloadSchedule:
    """A schedule in which loads take 0.5 seconds, and a, b, c and d, of 10 bytes each, have just been evicted."""
    schedule = ReloadSchedule()
    assert not schedule.note_load("x", 0.5)
    for exact in "abcd":
        schedule.note_eviction(exact, 10)
    return schedule


def test_reloads_take_a_fifth_of_the_time_and_wait_for_2_seconds_at_most(
    schedule: ReloadSchedule, now: list[float]
) -> None:
    assert schedule.reserve("a", free_bytes=0) == 0.0
    with pytest.raises(ModelEvictedError, match=r"b was evicted .* for another 3 seconds") as refused:
        schedule.reserve("b", 0)
    assert refused.value.retry_after == 3
    now[0] += 0.6
    assert schedule.reserve("b", 0) == pytest.approx(1.9)  # 2.5 seconds after the first
    with pytest.raises(ModelEvictedError, match="another 5 seconds"):
        schedule.reserve("c", 0)
    now[0] += 60
    assert schedule.reserve("c", 0) == 0.0  # time in which nothing was loaded does not add up
    with pytest.raises(ModelEvictedError):
        schedule.reserve("d", 0)


def test_what_is_no_reload_or_needs_no_room_never_waits(schedule: ReloadSchedule, now: list[float]) -> None:
    schedule.reserve("a", 0)
    assert schedule.reserve("b", free_bytes=10) == 0.0
    assert schedule.reserve("new", 0) == 0.0
    assert schedule.note_load("c", 0.5)
    assert schedule.reserve("c", 0) == 0.0
    now[0] += 601
    assert schedule.reserve("d", 0) == 0.0
    assert not schedule.note_load("d", 0.5)


def test_a_slow_store_does_not_put_reloads_off_for_more_than_a_minute(
    schedule: ReloadSchedule, now: list[float]
) -> None:
    schedule.note_load("slow", 1000.0)
    schedule.reserve("a", 0)
    with pytest.raises(ModelEvictedError, match="another 60 seconds"):
        schedule.reserve("b", 0)
    now[0] += 60
    assert schedule.reserve("b", 0) == 0.0


async def test_a_question_to_an_evicted_adapter_is_rejected_while_others_are_answered(run: Run) -> None:
    async with run(adapter_bytes=16) as engine:  # room for the default and one more
        for reference in ("toy@2", "other", "toy@2"):
            (outcome,) = await engine.submit([question(1, reference=reference)])
            assert isinstance(outcome, Served), outcome
        engine.swaps.reloads.note_load("slow", 1000.0)  # so that the next turn is far away
        engine.swaps.reloads.reserve("other@1", 0)
        late, here, default = await engine.submit(
            [question(n, reference=name) for n, name in enumerate(["other", "toy@2", None])]
        )
        assert isinstance(late, ModelEvictedError)
        assert [one.manifest.reference for one in (here, default) if isinstance(one, Served)] == ["toy@2", "toy@1"]
        assert (sample(engine, "adapter_evictions_total"), sample(engine, "adapter_reloads_total")) == (2, 1)
        await engine.swaps.obtain("other")  # whoever asks for the load itself gets it
        (outcome,) = await engine.submit([question(3, reference="other")])
        assert isinstance(outcome, Served)


async def test_all_who_wait_for_a_turn_wait_for_the_same(run: Run) -> None:
    async with run(adapter_bytes=16) as engine:
        for reference in ("toy@2", "other"):
            await engine.submit([question(1, reference=reference)])
        asked = [engine.submit([question(n, reference="toy@2")]) for n in range(20)]
        outcomes = await asyncio.gather(*asked)
        assert all(isinstance(outcome, Served) for (outcome,) in outcomes)
        assert sample(engine, "adapter_reloads_total") == 1
