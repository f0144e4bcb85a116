from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uq4ct.service.engine.batching import TokenBudget, count_fitting

BUDGET = 40
LENGTHS = st.lists(st.integers(1, BUDGET), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 2 * BUDGET))
def test_the_oldest_go_and_as_many_as_fit(lengths: list[int], budget: int) -> None:
    count = count_fitting(lengths, budget)
    assert count >= 1
    assert count == 1 or sum(lengths[:count]) <= budget
    assert count == len(lengths) or sum(lengths[: count + 1]) > budget


@given(LENGTHS)
def test_everything_is_answered_in_its_turn(lengths: list[int]) -> None:
    waiting, forwards = list(lengths), 0
    while waiting:
        waiting = waiting[count_fitting(waiting, BUDGET) :]
        forwards += 1
    assert forwards <= 1 + 2 * sum(lengths) // BUDGET  # two forwards in a row are over one budget


def test_a_question_over_a_lowered_budget_goes_alone() -> None:
    assert count_fitting([41, 1, 41], 40) == 1


def test_a_budget_falls_to_half_of_what_did_not_fit_and_comes_back_in_steps() -> None:
    budget = TokenBudget(1000)
    budget.lower(600)
    assert budget.tokens == 300
    budget.lower(900)  # a batch chosen before: it does not raise the budget
    assert budget.tokens == 300
    budget.raise_again()
    assert budget.tokens == 310
    for _ in range(69):
        budget.raise_again()
    assert budget.tokens == 1000
    budget.raise_again()
    assert budget.tokens == 1000
    budget.lower(1)
    assert budget.tokens == 1
