"""A forward has as many threads as other programs leave CPUs, and at least one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.conftest import Start
from uq4ct.service.engine.threads import ThreadChoice

pytestmark = pytest.mark.anyio


def chosen(most: int, cpus: int, busy: list[float]) -> list[int]:
    """Return the threads after each look, a second apart."""
    used: list[int] = []
    uses, times = iter(busy), iter(float(second) for second in range(len(busy) + 1))
    choice = ThreadChoice(most, cpus, lambda: next(uses), used.append, lambda: next(times))
    after: list[int] = []
    for _ in busy:
        choice.adapt()
        after.append(choice.threads)
        assert used[-1:] == [choice.threads] or not used
    return after


def test_a_neighbour_gets_its_cpu_and_gives_it_back() -> None:
    assert chosen(2, 2, [0.0, 0.3, 0.7, 1.0, 2.0, 0.1]) == [2, 2, 1, 1, 1, 2]
    assert chosen(4, 4, [1.6, 3.9, 0.2]) == [2, 1, 4]


@given(st.integers(1, 64), st.integers(1, 64), st.lists(st.floats(0, 100), max_size=20))
def test_there_is_at_least_one_thread_and_at_most_those_that_were_set(most: int, cpus: int, busy: list[float]) -> None:
    assert all(1 <= threads <= most for threads in chosen(most, cpus, busy))


def test_a_look_is_not_repeated_within_half_a_second() -> None:
    looks: list[float] = []

    def busy() -> float:
        looks.append(1.0)
        return 1.0

    times: Iterator[float] = iter([0.0, 0.1, 0.4, 0.6, 0.9, 1.2])
    choice = ThreadChoice(2, 2, busy, lambda _: None, lambda: next(times))
    for _ in range(5):
        choice.adapt()
    assert len(looks) == 2


def test_a_number_that_was_set_stays() -> None:
    used: list[int] = []
    choice = ThreadChoice(3, 2, None, used.append)
    choice.adapt()
    assert (choice.threads, used) == (3, [])


async def test_each_batch_asks_and_the_metrics_show_the_number(start: Start) -> None:
    busy, times = iter([1.0, 0.0]), iter([0.0, 1.0, 2.0])
    used: list[int] = []
    choice = ThreadChoice(2, 2, lambda: next(busy), used.append, lambda: next(times))
    async with start(threads=choice) as replica:
        await replica.ask()
        assert replica.sample("model_threads") == 1
        await replica.ask()
        assert replica.sample("model_threads") == 2
    assert used == [1, 2]
