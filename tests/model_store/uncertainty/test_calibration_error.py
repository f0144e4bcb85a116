"""Binned calibration errors against torchmetrics, written-out fractions and a calibrated simulator."""

from __future__ import annotations

import math
import time

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from tests.one_thread import seconds_of_others
from uq4ct.model_store.uncertainty.bins import bin_of
from uq4ct.model_store.uncertainty.calibration_error import (
    NoiseFloor,
    ReliabilityBins,
    confidence_bin,
    expected_calibration_error,
    noise_floor,
    reliability_bins,
)


def bools(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)


# Two bins: (1/4, 1/8) with one of two correct, (5/8, 3/4, 1) with all but the last correct.
CONFIDENCE = torch.tensor([1 / 4, 5 / 8, 1 / 8, 3 / 4, 1.0])
CORRECT = bools(1, 1, 0, 1, 0)


def test_bins_are_closed_on_the_left_and_one_is_in_the_last() -> None:
    confidence = torch.tensor([0.0, 0.0666, 0.0667, 0.5, 0.9999, 1.0])
    assert confidence_bin(confidence).tolist() == [0, 0, 1, 7, 14, 14]
    assert confidence_bin(torch.tensor([0.25, 0.5, 0.75, 1.0]), bins=4).tolist() == [1, 2, 3, 3]


@settings(deadline=None, max_examples=200)
@given(p=st.floats(0, 1), bins=st.integers(1, 40))
@example(p=0.2 - 1e-12, bins=5)  # float32 would round it into the next bin
def test_bin_is_the_rule_in_plain_python(p: float, bins: int) -> None:
    assert confidence_bin(torch.tensor(p, dtype=torch.float64), bins).item() == min(int(p * bins), bins - 1)
    assert bin_of(p, bins) == min(int(p * bins), bins - 1)


def test_reliability_bins_by_hand() -> None:
    table = reliability_bins(CONFIDENCE, CORRECT, bins=2)
    assert table.count.tolist() == [2, 3]
    assert table.confidence_sum.tolist() == [3 / 8, 19 / 8]
    assert table.correct_sum.tolist() == [1, 2]
    assert table.count.dtype == table.confidence_sum.dtype == table.correct_sum.dtype == torch.float64


def test_calibration_errors_by_hand() -> None:
    # Gaps: 1/2 - 3/16 = 5/16 for 2 of 5; 2/3 - 19/24 = -1/8 for 3 of 5.
    ece = 2 / 5 * 5 / 16 + 3 / 5 * 1 / 8
    assert expected_calibration_error(CONFIDENCE, CORRECT, bins=2) == pytest.approx(ece, rel=1e-12)


def test_p_of_one_is_compared_with_its_own_bin() -> None:
    # Pooled: |1 - (31/32 + 1)| / 2 = 31/64; a sixteenth bin at p = 1 would say
    # (1/32 + 1) / 2 = 33/64.
    assert expected_calibration_error(torch.tensor([31 / 32, 1.0]), bools(1, 0)) == 31 / 64


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), questions=st.integers(1, 200), bins=st.integers(1, 20))
def test_ece_agrees_with_torchmetrics_on_binary_labels(seed: int, questions: int, bins: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    confidence = torch.rand(questions, generator=generator, dtype=torch.float64)
    scaled = confidence * bins
    assume((scaled - scaled.round()).abs().min() > 1e-4)  # their edges are rounded differently
    correct = torch.rand(questions, generator=generator) < 0.6
    theirs = binary_calibration_error(confidence, correct.long(), n_bins=bins, norm="l1").item()
    assert expected_calibration_error(confidence, correct, bins) == pytest.approx(theirs, abs=1e-5)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), candidates=st.integers(2, 6))
def test_ece_agrees_with_torchmetrics_on_candidates(seed: int, candidates: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn(100, candidates, generator=generator, dtype=torch.float64).softmax(-1)
    answers = torch.randint(candidates, (100,), generator=generator)
    confidence, option = probabilities.max(-1)
    assume((confidence * 15 - (confidence * 15).round()).abs().min() > 1e-4)
    theirs = multiclass_calibration_error(probabilities, answers, candidates, n_bins=15, norm="l1").item()
    assert expected_calibration_error(confidence, option == answers) == pytest.approx(theirs, abs=1e-5)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), cut=st.integers(0, 60))
def test_bins_of_parts_add_up_to_bins_of_the_whole(seed: int, cut: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    confidence, correct = torch.rand(60, generator=generator), torch.rand(60, generator=generator) < 0.5
    first, rest = (reliability_bins(confidence[rows], correct[rows]) for rows in (slice(cut), slice(cut, None)))
    summed = ReliabilityBins(
        first.count + rest.count,
        first.confidence_sum + rest.confidence_sum,
        first.correct_sum + rest.correct_sum,
    )
    shuffle = torch.randperm(60, generator=generator)
    whole = expected_calibration_error(confidence[shuffle], correct[shuffle])
    assert summed.expected_calibration_error == pytest.approx(whole, abs=1e-12)


def test_noise_floor_of_two_coins_by_hand() -> None:
    # |heads - 1| / 2 is 1/2 for two heads or two tails, else 0: mean 1/4, and 1/2 in the upper half of all draws.
    floor = noise_floor(torch.tensor([0.5, 0.5]), draws=20_000)
    assert floor.mean == pytest.approx(1 / 4, abs=0.01)
    assert floor.p95 == 1 / 2
    # One coin is always off by 1/2; certainty never is.
    assert noise_floor(torch.tensor([0.5]), draws=10) == NoiseFloor(mean=1 / 2, p95=1 / 2)
    assert noise_floor(torch.tensor([0.0, 1.0]), draws=10) == NoiseFloor(mean=0, p95=0)


@pytest.mark.parametrize("seed", range(60))
def test_rounding_puts_no_perfect_record_above_its_floor(seed: int) -> None:
    """For a very confident model the 95th percentile is the draw in which all are right, with exactly that error."""
    generator = torch.Generator().manual_seed(seed)
    confidence = 1 - 0.004 * torch.rand(5 + seed % 3 * 5, generator=generator, dtype=torch.float64)
    error = expected_calibration_error(confidence, torch.ones(len(confidence), dtype=torch.bool))
    assert error == noise_floor(confidence, draws=200).p95


def test_noise_floor_meets_its_normal_approximation() -> None:
    # E|N(0, V)| = sqrt(2 V / pi) in each bin.
    confidence = torch.rand(5000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    variance = torch.bincount(confidence_bin(confidence), weights=confidence * (1 - confidence), minlength=15)
    expected = (2 * variance / math.pi).sqrt().sum().item() / 5000
    assert noise_floor(confidence).mean == pytest.approx(expected, rel=0.02)


def test_a_calibrated_simulator_sits_at_its_noise_floor() -> None:
    generator = torch.Generator().manual_seed(3)
    confidence = 0.2 + 0.8 * torch.rand(800, generator=generator)
    floor = noise_floor(confidence)
    errors = torch.tensor(
        [expected_calibration_error(confidence, torch.rand(800, generator=generator) < confidence) for _ in range(400)]
    )
    assert errors.mean().item() == pytest.approx(floor.mean, rel=0.03)
    assert (errors <= floor.p95).double().mean().item() == pytest.approx(0.95, abs=0.03)
    overconfident = torch.rand(800, generator=generator) < confidence - 0.15
    assert expected_calibration_error(confidence, overconfident) > floor.p95


def test_rounding_above_one_is_one_and_more_is_an_error() -> None:
    assert confidence_bin(torch.tensor([1 + 2e-7])).tolist() == [14]
    assert bin_of(1 + 2e-7) == 14
    for wrong in (1.1, -0.1, float("nan")):
        with pytest.raises(ValueError, match="must lie in"):
            bin_of(wrong)
    assert reliability_bins(torch.tensor([1 + 2e-7]), bools(1)).confidence_sum[-1].item() == 1
    for value in (1.001, -0.001, float("nan")):
        with pytest.raises(ValueError, match=r"confidence must lie in \[0, 1\], not (1\.001|-0\.001|nan)"):
            expected_calibration_error(torch.tensor([0.5, value]), bools(1, 0))


def test_errors_name_what_is_wrong() -> None:
    half = torch.tensor([0.5])
    with pytest.raises(ValueError, match=r"not \[1\] and torch.float32 \[1\]"):
        reliability_bins(half, half)
    with pytest.raises(ValueError, match=r"not \[1\] and torch.bool \[2\]"):
        expected_calibration_error(half, bools(1, 0))
    with pytest.raises(ValueError, match="at least 1 question, not 0"):
        expected_calibration_error(half[:0], bools())
    with pytest.raises(ValueError, match="bins must be at least 1, not 0"):
        confidence_bin(half, bins=0)
    with pytest.raises(ValueError, match="draws must be at least 1, not 0"):
        noise_floor(half, draws=0)
    with pytest.raises(ValueError, match=r"not \[0\]"):
        noise_floor(half[:0])


def simulated_errors(confidence: torch.Tensor, draws: int) -> torch.Tensor:
    """The ECE of label sets drawn from the confidences, question by question."""
    generator = torch.Generator().manual_seed(4)
    errors = [
        expected_calibration_error(confidence, torch.rand(len(confidence), generator=generator) < confidence)
        for _ in range(draws)
    ]
    return torch.tensor(errors, dtype=torch.float64)


@pytest.mark.parametrize("questions", [1, 3, 40, 1500])
def test_the_noise_floor_is_that_of_labels_drawn_one_by_one(questions: int) -> None:
    """Mean within 4 standard errors; the percentile between those that 1,000 and 2,000 draws have as a rule."""
    confidence = torch.rand(questions, generator=torch.Generator().manual_seed(questions), dtype=torch.float64).sqrt()
    errors = simulated_errors(confidence, 2000)
    floor = noise_floor(confidence)
    assert floor.mean == pytest.approx(errors.mean().item(), abs=4 * errors.std().item() / 2000**0.5 + 1e-12)
    low, high = errors.quantile(torch.tensor([0.92, 0.975], dtype=torch.float64)).tolist()
    assert low - 1e-12 <= floor.p95 <= high + 1e-12


def test_the_noise_floor_takes_one_thread_and_little_time() -> None:
    """Drawing a label for each question takes 20 times as long."""
    confidence = torch.rand(20_000, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    start = time.thread_time()
    assert seconds_of_others(lambda: noise_floor(confidence)) < 0.03
    assert time.thread_time() - start < 0.1


def test_the_noise_floor_of_one_bin_takes_as_little() -> None:
    confidence = 0.94 + 0.05 * torch.rand(20_000, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    start = time.thread_time()
    noise_floor(confidence)
    assert time.thread_time() - start < 0.1
