from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.batching import select_batch

BUDGET = 40
LENGTHS = st.lists(st.integers(1, BUDGET), min_size=1, max_size=60)


def cost(lengths: list[int]) -> int:
    return len(lengths) * max(lengths)


@given(LENGTHS)
def test_fits_the_budget_and_holds_the_oldest(lengths: list[int]) -> None:
    batch = select_batch(lengths, BUDGET)
    chosen = [lengths[index] for index in batch]
    assert cost(chosen) <= BUDGET
    assert 0 in batch
    assert len(set(batch)) == len(batch)
    assert chosen == sorted(chosen)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(12, 40))
def test_no_batch_with_the_oldest_has_more_rows(lengths: list[int], budget: int) -> None:
    others = range(1, len(lengths))
    most = max(
        1 + size
        for size in range(len(lengths))
        for rest in combinations(others, size)
        if cost([lengths[0], *(lengths[index] for index in rest)]) <= budget
    )
    assert len(select_batch(lengths, budget)) == most


@given(LENGTHS)
def test_everything_is_answered_once_and_the_oldest_never_waits(lengths: list[int]) -> None:
    waiting = list(range(len(lengths)))
    answered: list[int] = []
    while waiting:
        batch = [waiting[index] for index in select_batch([lengths[i] for i in waiting], BUDGET)]
        assert waiting[0] in batch
        answered += batch
        waiting = [i for i in waiting if i not in batch]
    assert sorted(answered) == list(range(len(lengths)))


def test_takes_everything_that_fits() -> None:
    assert select_batch([3, 1, 2], 9) == [1, 2, 0]


def test_takes_neighbours_in_length_of_the_oldest() -> None:
    # 2 rows of 10 fill the budget of 20: of the shorter ones the 9 joins the oldest, not the 1.
    assert select_batch([10, 1, 9], 20) == [2, 0]


def test_a_question_over_the_budget_is_an_error() -> None:
    with pytest.raises(ValueError, match="41 tokens does not fit a batch of 40"):
        select_batch([41, 1], 40)
