"""Statistics of a study, compared with hand calculations, single-run code, and the null hypothesis."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.one_thread import seconds_of_others
from tests.training.study.simulated import simulate_answers
from uq4ct.model_store.uncertainty.intervals import Interval
from uq4ct.model_store.uncertainty.ranking import auroc
from uq4ct.training.evaluation.scores import compute_scores, paired_differences
from uq4ct.training.study import statistics
from uq4ct.training.study.statistics import (
    METRICS,
    MetricName,
    auroc_gain,
    holm,
    mean_and_deviation,
    paired_difference,
    spread_over_seeds,
)


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04, times 4, 3, 2, 1: 0.04, 0.06, 0.06, 0.04; made monotone, the last is 0.06."""
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(min_value=1e-4, max_value=1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, found in zip(p_values, adjusted, strict=True):
        assert p <= found <= min(1.0, p * len(p_values)) + 1e-12
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[index] for index in order] == sorted(adjusted)


@pytest.mark.parametrize("metric", METRICS)
def test_one_seed_is_the_comparison_of_two_runs(metric: MetricName) -> None:
    """Value and interval are those of `uq4ct compare`."""
    ours, theirs = simulate_answers(60, seed=1, sharpness=2.0), simulate_answers(60, seed=2)
    name = {"calibration": "squared calibration error"}.get(metric, metric)
    value, interval = paired_differences(ours, theirs)[name]
    found = paired_difference([ours], [theirs], metric)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_a_gain_in_auroc_is_that_of_resampled_rows() -> None:
    """Two seeds, scores with ties; draws repeat rows explicitly, and draws without an error are left out."""
    runs = [simulate_answers(12, seed=seed, sharpness=3.0) for seed in (1, 2)]
    scores = [
        torch.round(2 * run.confidence + torch.rand(12, generator=torch.Generator().manual_seed(3))) for run in runs
    ]

    def gain(rows: torch.Tensor) -> float:
        differences = []
        for run, score in zip(runs, scores, strict=True):
            ours, theirs = auroc(score[rows], run.correct[rows]), auroc(run.confidence[rows], run.correct[rows])
            differences.append(float("nan") if ours is None or theirs is None else ours - theirs)
        return sum(differences) / len(differences)

    source = torch.Generator().manual_seed(0)
    drawn = torch.tensor([gain(torch.randint(12, (12,), generator=source)) for _ in range(1000)], dtype=torch.float64)
    assert 0 < drawn.isnan().sum() < 500
    found = auroc_gain(runs, scores)
    assert found is not None
    value, interval = found
    assert value == pytest.approx(gain(torch.arange(12)))
    kept = drawn[~drawn.isnan()]
    assert (interval.low, interval.high) == pytest.approx((kept.quantile(0.025).item(), kept.quantile(0.975).item()))


def test_many_questions_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of the random numbers give what all at once give."""
    ours, theirs = simulate_answers(50, seed=1, sharpness=2.0), simulate_answers(50, seed=2)
    scores = [ours.probabilities[:, 0]]
    whole = paired_difference([ours], [theirs], "nll"), auroc_gain([ours], scores)
    monkeypatch.setattr(statistics, "_SWAPS_AT_ONCE", 777 * 50)
    monkeypatch.setattr(statistics, "_CELLS_AT_ONCE", 130 * 50)
    assert (paired_difference([ours], [theirs], "nll"), auroc_gain([ours], scores)) == whole


@pytest.mark.parametrize("metric", METRICS)
def test_comparisons_take_one_thread(metric: MetricName) -> None:
    ours, theirs = simulate_answers(2000, seed=1, sharpness=2.0), simulate_answers(2000, seed=2)
    paired_difference([ours], [theirs], metric)  # which draws the random numbers
    assert seconds_of_others(lambda: paired_difference([ours], [theirs], metric)) < 0.05


def test_confidence_gains_nothing_over_itself_and_without_an_error_there_is_no_gain() -> None:
    run = simulate_answers(40, seed=1)
    assert auroc_gain([run], [run.confidence]) == (0, Interval(low=0, high=0))
    assert auroc_gain([replace(run, correct=torch.ones(40, dtype=torch.bool))], [run.confidence]) is None


@pytest.mark.parametrize("metric", ["accuracy", "nll", "brier"])
def test_a_measure_of_several_seeds_is_their_mean(metric: MetricName) -> None:
    runs = [simulate_answers(40, seed=seed) for seed in range(3)]
    each = [getattr(compute_scores(run), metric) for run in runs]
    spread = spread_over_seeds(runs, metric)
    assert (spread.mean, spread.deviation) == pytest.approx(mean_and_deviation(each))
    assert spread_over_seeds(runs[:1], metric).deviation is None
    other = simulate_answers(40, seed=9)
    found = paired_difference(runs, [other] * 3, metric)
    assert found.value == pytest.approx(spread.mean - getattr(compute_scores(other), metric))


def test_the_calibration_of_one_seed_is_that_of_its_scores() -> None:
    run = simulate_answers(80, seed=4, sharpness=3.0)
    spread, scores = spread_over_seeds([run], "calibration"), compute_scores(run)
    assert spread.mean == pytest.approx(scores.rms_calibration_error)
    assert spread.mean > 0
    stored = scores.rms_calibration_error_interval
    assert (spread.interval.low, spread.interval.high) == pytest.approx((stored.low, stored.high))


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_differs_in_nothing_from_itself(metric: MetricName) -> None:
    run = simulate_answers(30, seed=0)
    found = paired_difference([run], [run], metric)
    assert (found.value, found.p) == (pytest.approx(0.0, abs=1e-15), pytest.approx(1.0))
    assert found.interval.low <= 0 <= found.interval.high
    assert found.interval.high == pytest.approx(-found.interval.low)


def test_the_p_of_three_questions_by_hand() -> None:
    """Three equal gains in accuracy: of the 8 swaps, only swapping all or none reaches the difference: p = 2 / 8."""
    right, wrong = simulate_answers(3, seed=0, correct=True), simulate_answers(3, seed=0, correct=False)
    assert paired_difference([right], [wrong], "accuracy").p == pytest.approx(2 / 8, abs=0.015)


def test_a_plain_difference_is_found() -> None:
    good, bad = simulate_answers(300, seed=1), simulate_answers(300, seed=1, sharpness=4.0)
    for metric in ("calibration", "nll"):
        found = paired_difference([bad], [good], metric)
        assert found.value > 0
        assert found.p < 0.001


@pytest.mark.parametrize("metric", ["nll", "brier"])
def test_p_values_are_uniform_under_the_null(metric: MetricName) -> None:
    """Two models that differ only by chance, checked with a Kolmogorov-Smirnov test."""
    p_values = (
        torch.tensor(
            [
                paired_difference([simulate_answers(60, seed=2 * i)], [simulate_answers(60, seed=2 * i + 1)], metric).p
                for i in range(120)
            ]
        )
        .sort()
        .values
    )
    expected = (torch.arange(120) + 0.5) / 120
    assert (p_values - expected).abs().max() < 1.63 / 120**0.5  # the 99 % point


def test_what_cannot_be_paired_is_refused() -> None:
    one, other = simulate_answers(8, seed=0), simulate_answers(9, seed=0)
    with pytest.raises(ValueError, match="same questions"):
        paired_difference([one], [other], "nll")
    with pytest.raises(ValueError, match="1 runs cannot be paired with 2"):
        paired_difference([one], [one, one], "nll")
