from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.engine.batching import TokenBudget, select_batch

BUDGET = 40
LENGTHS = st.lists(st.integers(1, BUDGET), min_size=1, max_size=60)
OVERHEADS = st.sampled_from([0.0, 0.5, 3.0, 20.0, 1000.0])


def padded(lengths: list[int]) -> int:
    return len(lengths) * max(lengths)


def yield_of(lengths: list[int], overhead: float) -> float:
    return sum(lengths) / (overhead + padded(lengths))


@given(LENGTHS, OVERHEADS)
def test_fits_the_budget_and_holds_the_oldest(lengths: list[int], overhead: float) -> None:
    batch = select_batch(lengths, BUDGET, overhead)
    chosen = [lengths[index] for index in batch]
    assert padded(chosen) <= BUDGET
    assert 0 in batch
    assert len(set(batch)) == len(batch)
    assert chosen == sorted(chosen)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(12, 80), OVERHEADS)
def test_no_run_of_neighbours_with_the_oldest_does_more_for_its_cost(
    lengths: list[int], budget: int, overhead: float
) -> None:
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    runs = (order[first : last + 1] for first in range(len(order)) for last in range(first, len(order)))
    chosen = [[lengths[index] for index in run] for run in runs if 0 in run]
    best = max(yield_of(run, overhead) for run in chosen if padded(run) <= budget)
    batch = [lengths[index] for index in select_batch(lengths, budget, overhead)]
    assert abs(yield_of(batch, overhead) - best) < 1e-12


@given(LENGTHS, OVERHEADS)
def test_everything_is_answered_once_and_the_oldest_never_waits(lengths: list[int], overhead: float) -> None:
    waiting = list(range(len(lengths)))
    answered: list[int] = []
    while waiting:
        batch = [waiting[index] for index in select_batch([lengths[i] for i in waiting], BUDGET, overhead)]
        assert waiting[0] in batch
        answered += batch
        waiting = [i for i in waiting if i not in batch]
    assert sorted(answered) == list(range(len(lengths)))


@given(st.lists(st.integers(1, BUDGET), min_size=1, max_size=30), st.integers(1, 50), OVERHEADS)
def test_questions_of_several_passes_fit_the_budget_or_go_alone(
    lengths: list[int], passes: int, overhead: float
) -> None:
    batch = select_batch([length * passes for length in lengths], BUDGET, overhead)
    rows = [lengths[index] for index in batch for _ in range(passes)]
    assert 0 in batch
    assert padded(rows) <= BUDGET or batch == [0]


@given(st.lists(st.integers(1, BUDGET), min_size=1, max_size=30), st.integers(1, 50), OVERHEADS)
def test_passes_are_a_smaller_budget_of_a_dearer_forward(lengths: list[int], passes: int, overhead: float) -> None:
    many = select_batch([length * passes for length in lengths], BUDGET * passes, overhead * passes)
    assert many == select_batch(lengths, BUDGET, overhead)


def test_where_a_forward_costs_much_everything_that_fits_goes_along() -> None:
    assert select_batch([3, 1, 2], 9, overhead=100) == [1, 2, 0]


def test_where_it_costs_nothing_only_equals_go_along() -> None:
    assert select_batch([3, 1, 2, 3], 40, overhead=0) == [0, 3]


def test_between_them_a_neighbour_goes_along_where_its_padding_costs_less_than_a_forward() -> None:
    # Alone: 10 / (5 + 10) = 2/3. With the 9: 19 / (5 + 20) = 19/25, more. With the 1 too: 20 / (5 + 30) = 4/7, less.
    assert select_batch([10, 1, 9], 40, overhead=5) == [2, 0]


def test_takes_neighbours_in_length_of_the_oldest() -> None:
    # 2 rows of 10 fill the budget of 20: of the shorter ones the 9 joins the oldest, not the 1.
    assert select_batch([10, 1, 9], 20, overhead=100) == [2, 0]


def test_a_question_over_a_lowered_budget_goes_alone() -> None:
    assert select_batch([41, 1, 41], 40, overhead=100) == [0]


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
