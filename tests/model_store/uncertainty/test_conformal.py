from __future__ import annotations

import bisect
import math
import random
from collections.abc import Sequence
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uq4ct.model_store.uncertainty.conformal import (
    MOST_SCORES,
    ConformalScore,
    conformal_threshold,
    largest_coverage,
    nonconformity,
    prediction_set,
    sketch_scores,
)
from uq4ct.model_store.uncertainty.conformal_fitting import calibration_scores

KINDS: tuple[ConformalScore, ...] = ("lac", "aps")
probability_rows = st.lists(st.floats(0.01, 1), min_size=2, max_size=26).map(lambda row: [x / sum(row) for x in row])


def threshold_of(scores: Sequence[float], coverage: float) -> float:
    """Return the threshold that a stored calibration with these scores gives."""
    return conformal_threshold(sketch_scores(scores), len(scores), coverage)


def test_nonconformity_by_hand() -> None:
    row = [0.5, 0.25, 0.125, 0.125]
    assert nonconformity(row, "lac") == [0.5, 0.75, 0.875, 0.875]
    assert nonconformity(row, "aps") == [0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_score(kind: ConformalScore) -> None:
    assert nonconformity([0.5, 0.3, 0.2, 0.0, 0.0], kind)[:3] == nonconformity([0.5, 0.3, 0.2], kind)


@pytest.mark.parametrize(
    ("coverage", "rank"), [(0.5, 5), (0.05, 1), (0.9, 9), (0.8, 8), (0.7, 7), (0.07, 1), (0.91, None), (1.0, None)]
)
def test_the_threshold_is_an_order_statistic(coverage: float, rank: int | None) -> None:
    scores = [index / 16 for index in range(1, 10)]  # n = 9: the rank is ceil(10 * coverage)
    expected = math.inf if rank is None else scores[rank - 1]
    assert threshold_of(scores, coverage) == expected


def test_a_decimal_coverage_is_not_rounded_up_by_its_binary_form() -> None:
    scores = [float(index) for index in range(1, 100)]  # (99 + 1) * 0.07 is 7.000000000000001 in floating point
    assert threshold_of(scores, 0.07) == 7.0
    assert threshold_of(scores, largest_coverage(99)) == 99.0


def test_no_coverage_admits_the_best_option_alone() -> None:
    assert threshold_of([0.2, 0.3], 0.0) == -math.inf
    assert prediction_set([0.2, 0.7, 0.1], "lac", -math.inf) == (1,)


@settings(deadline=None)
@given(row=probability_rows, kind=st.sampled_from(KINDS), thresholds=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_sets_grow_with_the_threshold_and_hold_the_best(
    row: list[float], kind: ConformalScore, thresholds: tuple[float, float]
) -> None:
    small, large = (set(prediction_set(row, kind, threshold)) for threshold in sorted(thresholds))
    assert small <= large
    assert max(range(len(row)), key=row.__getitem__) in small
    assert len(prediction_set(row, kind, math.inf)) == len(row)
    worst_inside = min(row[index] for index in large)
    assert all(row[index] <= worst_inside for index in set(range(len(row))) - large)  # a set is the most probable ones


@pytest.mark.parametrize("coverage", [-0.1, 1.1, math.nan])
def test_an_impossible_coverage_is_refused(coverage: float) -> None:
    with pytest.raises(ValueError, match=f"coverage must be between 0 and 1, not {coverage}"):
        conformal_threshold([0.5], 1, coverage)


def test_scores_need_answers() -> None:
    with pytest.raises(ValueError, match="at least 1 calibration question"):
        calibration_scores(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "lac")
    with pytest.raises(ValueError, match="answers must lie in"):
        calibration_scores(torch.full((1, 3), 1 / 3), torch.tensor([3]), "lac")


def rank_of(questions: int, coverage: float) -> int:
    """Return the rank of the score that all scores of a calibration would give; above `questions`: every option."""
    return math.ceil((questions + 1) * Fraction(repr(coverage)))


@pytest.mark.parametrize("questions", [1, 2, 3, 7, 100])
def test_of_few_questions_every_score_is_kept(questions: int) -> None:
    scores = tuple(index / questions for index in range(1, questions + 1))
    assert sketch_scores(scores) == scores
    for step in range(questions + 2):
        coverage = step / (questions + 1)
        expected = (-math.inf, *scores, math.inf)[rank_of(questions, coverage)]
        assert conformal_threshold(scores, questions, coverage) == expected


def test_at_the_limit_every_score_is_kept_and_above_it_no_more() -> None:
    assert sketch_scores([float(rank) for rank in range(MOST_SCORES)]) == tuple(map(float, range(MOST_SCORES)))
    assert len(sketch_scores([0.5] * 10 * MOST_SCORES)) == MOST_SCORES


@pytest.mark.parametrize("questions", [MOST_SCORES + 1, 4000, 4001])
def test_of_many_questions_the_next_later_score_is_used_at_every_rank(questions: int) -> None:
    """The scores are the ranks themselves, so that a threshold shows which one was used."""
    ranks = [float(rank) for rank in range(1, questions + 1)]
    sketch = sketch_scores(ranks)
    assert len(sketch) == MOST_SCORES
    assert sketch[-1] == questions
    for step in range(questions + 2):
        coverage = step / (questions + 1)
        exact, found = rank_of(questions, coverage), conformal_threshold(sketch, questions, coverage)
        if 0 < exact <= questions:
            assert exact <= found < exact + questions / MOST_SCORES
            assert found == sketch[bisect.bisect_left(sketch, exact)]
        else:
            assert found == (math.inf if exact else -math.inf)


@settings(deadline=None, max_examples=40)
@given(
    questions=st.integers(MOST_SCORES + 1, 50_000),
    coverage=st.floats(0, 1),
    kind=st.sampled_from(KINDS),
    row=probability_rows,
    seed=st.integers(0, 2**32),
    ties=st.sampled_from([5, 1000, 10**9]),
)
def test_a_set_of_many_questions_contains_the_set_of_all_scores(
    questions: int, coverage: float, kind: ConformalScore, row: list[float], seed: int, ties: int
) -> None:
    scores = sorted(random.Random(seed).choices([index / ties for index in range(min(ties, 2000))], k=questions))
    exact = conformal_threshold(scores, questions, coverage)  # with every score kept
    found = threshold_of(scores, coverage)
    assert found >= exact
    assert set(prediction_set(row, kind, found)) >= set(prediction_set(row, kind, exact))
    rank = rank_of(questions, coverage)
    if 0 < rank <= questions:
        assert found <= scores[min(questions, rank + questions // MOST_SCORES) - 1]


def _draw(questions: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw probabilities of a miscalibrated model over 5 options (too sharp by half), and right answers."""
    logits = 1.5 * torch.randn(questions, 5, generator=generator, dtype=torch.float64)
    answers = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    return (1.5 * logits).softmax(dim=1), answers


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_coverage_over_fresh_draws_is_the_beta_binomial(kind: ConformalScore, coverage: float) -> None:
    """Vovk 2012: the coverage of a fresh test sample of size m is beta-binomial(m, k, n + 1 - k), k the rank."""
    generator = torch.Generator().manual_seed(11)
    n, m, draws = 199, 100, 200
    rank = math.ceil((n + 1) * coverage)
    found = []
    for _ in range(draws):
        threshold = threshold_of(calibration_scores(*_draw(n, generator), kind), coverage)
        probabilities, answers = _draw(m, generator)
        rows = list(zip(probabilities.tolist(), answers.tolist(), strict=True))
        covered = [nonconformity(row, kind)[right] <= threshold for row, right in rows]
        found.append(sum(covered) / m)
        held = [right in prediction_set(row, kind, threshold) for row, right in rows]
        assert all(inside or not rule for inside, rule in zip(held, covered, strict=True))
    a, b = rank, n + 1 - rank
    mean = a / (a + b)
    variance = a * b * (a + b + m) / (m * (a + b) ** 2 * (a + b + 1))
    # One probability of a tie at the whole mass: aps gives every last option a score of 1, so it may cover more.
    standard_error = math.sqrt(variance / draws)
    assert abs(sum(found) / draws - mean) < 3 * standard_error
    spread = torch.tensor(found).std().item()
    assert spread == pytest.approx(math.sqrt(variance), rel=0.2)
