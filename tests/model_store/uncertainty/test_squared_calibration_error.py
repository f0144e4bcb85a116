"""The squared calibration error: by hand, without bias, with intervals that hold in five worlds."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulations.calibration_error import SIZES, WORLDS, coverage_of_squared
from uq4ct.model_store.uncertainty.calibration_error import reliability_bins
from uq4ct.model_store.uncertainty.squared_calibration_error import (
    Confidences,
    SquaredError,
    squared_calibration_error,
    squared_calibration_error_difference,
)


def run_of(confidence: list[float], correct: list[int]) -> Confidences:
    return Confidences(torch.tensor(confidence, dtype=torch.float64), torch.tensor(correct, dtype=torch.bool))


def simulated(seed: int, questions: int) -> Confidences:
    source = torch.Generator().manual_seed(seed)
    confidence = torch.rand(questions, generator=source, dtype=torch.float64)
    return Confidences(confidence, torch.rand(questions, generator=source) < confidence**2)


def test_by_hand() -> None:
    """Two bins of 2 and 3: gaps 1/2 - 3/16 = 5/16 and 2/3 - 19/24 = -1/8."""
    run = run_of([1 / 4, 5 / 8, 1 / 8, 3 / 4, 1.0], [1, 1, 0, 1, 0])
    first = [1 - 1 / 4, 0 - 1 / 8]
    second = [1 - 5 / 8, 1 - 3 / 4, 0 - 1]
    noise = sum(sum((r - sum(part) / len(part)) ** 2 for r in part) / (len(part) - 1) / 5 for part in (first, second))
    expected = 2 / 5 * (5 / 16) ** 2 + 3 / 5 * (1 / 8) ** 2 - noise
    found = squared_calibration_error([run], bins=2)
    assert found.value == pytest.approx(expected, rel=1e-12)
    assert found.value < 0
    assert (found.root, found.root_interval.low) == (0, 0)


def test_a_bin_of_one_adds_nothing_to_the_value_but_leaves_it_uncertain() -> None:
    """Two wrong answers at 3/16 in the first bin, one of unknown noise in the second."""
    run = run_of([3 / 16, 3 / 16, 3 / 4], [0, 0, 0])
    assert squared_calibration_error([run], bins=2).value == pytest.approx(2 / 3 * 9 / 256)
    alone = squared_calibration_error([run_of([0.9], [1])])
    assert alone.value == 0
    assert alone.root_interval.high > 0.5


def test_exactly_right_shares_are_no_calibration_error() -> None:
    """36 questions in groups whose shares are exact: the plug-in ECE is 0, and so is every honest lower bound."""
    groups = [(0.25, 1, 4), (0.5, 4, 8), (0.75, 9, 12), (11 / 12, 11, 12)]
    run = run_of(
        [p for p, _, size in groups for _ in range(size)],
        [int(index < right) for _, right, size in groups for index in range(size)],
    )
    found = squared_calibration_error([run])
    assert found.value < 0
    assert found.root_interval.low == 0
    assert 0 < found.root_interval.high < 0.25


def test_unbiased_where_the_plug_in_is_not() -> None:
    """Confidences at one point of each bin, true accuracy 0.1 below: the squared error is 0.01."""
    generator = torch.Generator().manual_seed(5)
    confidence = ((torch.arange(300) % 10) / 15 + 5.5 / 15).double()
    estimates, plug_ins = [], []
    for _ in range(600):
        run = Confidences(confidence, torch.rand(300, generator=generator) < confidence - 0.1)
        estimates.append(squared_calibration_error([run]).value)
        table = reliability_bins(*run)
        gaps = (table.correct_sum - table.confidence_sum).square() / table.count.clamp(min=1)
        plug_ins.append(gaps.sum().item() / 300)
    assert sum(estimates) / 600 == pytest.approx(0.01, abs=0.0008)
    assert sum(plug_ins) / 600 > 0.015


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), questions=st.integers(1, 120))
def test_what_holds_for_any_runs(seed: int, questions: int) -> None:
    ours, theirs = simulated(seed, questions), simulated(seed + 1, questions)
    there = squared_calibration_error_difference([ours], [theirs])
    back = squared_calibration_error_difference([theirs], [ours])
    one, other = squared_calibration_error([ours]), squared_calibration_error([theirs])
    assert there.value == pytest.approx(one.value - other.value, abs=1e-12)
    assert (there.value, there.standard_error) == pytest.approx((-back.value, back.standard_error), abs=1e-12)
    order = torch.randperm(questions, generator=torch.Generator().manual_seed(seed))
    shuffled = squared_calibration_error([Confidences(ours.confidence[order], ours.correct[order])])
    assert (shuffled.value, shuffled.standard_error) == pytest.approx((one.value, one.standard_error), abs=1e-9)
    assert one.standard_error > 0
    assert squared_calibration_error([ours, ours, ours]).value == pytest.approx(one.value, abs=1e-12)


def test_runs_on_the_same_questions_are_not_independent() -> None:
    """Three runs with the same answers have the uncertainty of one; independent ones have less."""
    run = simulated(1, 400)
    one = squared_calibration_error([run])
    same = squared_calibration_error([run] * 3)
    others = squared_calibration_error([run, simulated(2, 400), simulated(3, 400)])
    assert same.standard_error == pytest.approx(one.standard_error, rel=1e-6)
    assert others.standard_error < 0.75 * one.standard_error


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    """Far from calibration, where the form is nearly normal, it is exact to a few percent."""
    source = torch.Generator().manual_seed(3)
    found = []
    for _ in range(400):
        rate = 0.3 + 0.3 * torch.rand(1000, generator=source, dtype=torch.float64)
        run = Confidences(rate + 0.3, torch.rand(1000, generator=source, dtype=torch.float64) < rate)
        found.append(squared_calibration_error([run]))
    values = torch.tensor([one.value for one in found])
    assert values.mean().item() == pytest.approx(0.09, abs=0.002)
    mean_error = sum(one.standard_error for one in found) / len(found)
    assert mean_error == pytest.approx(values.std().item(), rel=0.12)


def test_p_and_root() -> None:
    found = SquaredError(0.04, 0.04 / 1.959963984540054)
    assert found.p == pytest.approx(0.05)
    assert found.root == pytest.approx(0.2)
    assert (found.root_interval.low, found.root_interval.high) == pytest.approx((0, math.sqrt(0.08)), abs=1e-9)
    assert SquaredError(0.0, 0.0).p == 1


def test_errors_name_what_is_wrong() -> None:
    one, two = run_of([0.5], [1]), run_of([0.5, 0.5], [1, 0])
    with pytest.raises(ValueError, match=r"same questions, at least 1, not \[1, 2\]"):
        squared_calibration_error([one, two])
    with pytest.raises(ValueError, match=r"at least 1, not \[0\]"):
        squared_calibration_error([run_of([], [])])
    with pytest.raises(ValueError, match=r"not \[1\] and torch.bool \[2\]"):
        squared_calibration_error([Confidences(one.confidence, two.correct)])


@pytest.mark.slow
@pytest.mark.parametrize("questions", SIZES)
@pytest.mark.parametrize("world", WORLDS)
def test_the_intervals_hold(world: str, questions: int) -> None:
    """Seed 0, 600 draws. Two standard errors of a coverage of 0.95 are 0.018, of a false alarm rate of 0.05 as many."""
    found = coverage_of_squared(WORLDS[world], questions, draws=600)
    assert min(found.ours, found.theirs, found.difference) >= 0.93
    if world in ("both calibrated", "equally overconfident"):
        assert found.excludes_zero <= 0.05
