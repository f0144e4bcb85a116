"""A forward has as many threads as other programs leave CPUs, and at least one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import psutil
import torch
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.threads import ThreadChoice, computing_with


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
    assert (choice.threads, used) == (3, [3])


def test_work_beside_the_model_starts_no_threads() -> None:
    def started(block: AbstractContextManager[None]) -> int:
        before = psutil.Process().num_threads()
        with block:
            torch.ones(1_000_000).exp()
        assert torch.get_num_threads() == 2
        return psutil.Process().num_threads() - before

    with computing_with(2), ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(started, computing_with(1)).result() == 0
        assert fresh.submit(started, nullcontext()).result() == 1
