from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uq4ct.model_store.uncertainty.conformal import (
    ConformalScore,
    calibration_scores,
    conformal_threshold,
    largest_coverage,
    nonconformity,
    prediction_set,
)

KINDS: tuple[ConformalScore, ...] = ("lac", "aps")
probability_rows = st.lists(st.floats(0.01, 1), min_size=2, max_size=26).map(lambda row: [x / sum(row) for x in row])


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
    assert conformal_threshold(scores, coverage) == expected


def test_a_decimal_coverage_is_not_rounded_up_by_its_binary_form() -> None:
    scores = [float(index) for index in range(1, 100)]  # (99 + 1) * 0.07 is 7.000000000000001 in floating point
    assert conformal_threshold(scores, 0.07) == 7.0
    assert conformal_threshold(scores, largest_coverage(99)) == 99.0


def test_no_coverage_admits_the_best_option_alone() -> None:
    assert conformal_threshold([0.2, 0.3], 0.0) == -math.inf
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
        conformal_threshold([0.5], coverage)


def test_scores_need_answers() -> None:
    with pytest.raises(ValueError, match="at least 1 calibration question"):
        calibration_scores(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), "lac")
    with pytest.raises(ValueError, match="answers must lie in"):
        calibration_scores(torch.full((1, 3), 1 / 3), torch.tensor([3]), "lac")


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
        threshold = conformal_threshold(calibration_scores(*_draw(n, generator), kind), coverage)
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
