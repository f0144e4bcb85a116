"""The bootstrap interval of a mean: that of rows drawn one by one, with its coverage, in one thread."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.one_thread import seconds_of_others
from tests.plain_bootstrap import plain_bootstrap
from uq4ct.model_store.uncertainty.intervals import Interval
from uq4ct.model_store.uncertainty.resampling import (
    DRAWS,
    MOST_RESAMPLED,
    bootstrap_mean,
    resamplings,
    weighted_sums,
)


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def width(interval: Interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize("n", [1, 2, 7, 400, 3000])
def test_it_is_the_bootstrap_of_rows(n: int) -> None:
    """The same random numbers, so it is equal to the rounding of sums."""
    values = normal(n, seed=n).exp()
    expected = plain_bootstrap(lambda rows: values[rows].mean().item(), n)
    assert bounds(bootstrap_mean(values)) == pytest.approx(bounds(expected), rel=1e-12)


@pytest.mark.parametrize("kind", ["normal", "heavy tail", "one outlier", "two values"])
def test_cells_give_the_distribution_of_rows(kind: str) -> None:
    """More values than are resampled row by row; the standard error of a percentile of 1,000 draws is 0.085 s.

    The mean of so many values is nearly normal, except for its skewness where one outlier decides.
    """
    n = MOST_RESAMPLED + 1000
    values = normal(n, seed=3)
    if kind == "heavy tail":
        values = (2 * values).exp()
    elif kind == "one outlier":
        values[5] = 500
    elif kind == "two values":
        values = (values > 2.5).double()
    found = bounds(bootstrap_mean(values))
    column = values.numpy()
    rows = np.random.default_rng(9)
    drawn = np.array([column.take(rows.integers(0, n, n)).mean() for _ in range(400)])
    error = values.std(correction=0).item() / math.sqrt(n)
    assert found == pytest.approx(np.quantile(drawn, (0.025, 0.975)).tolist(), abs=0.6 * error)
    if kind != "one outlier":
        mean = values.mean().item()
        assert found == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.35 * error)


def test_outliers_do_not_make_the_cells_too_wide() -> None:
    """Two outliers at 50 standard deviations; the mean width of 12 intervals, each with other cells."""
    n = 40_000
    values = normal(n, seed=1)
    values[0], values[1] = -50, 50
    widths = [width(bootstrap_mean(values[: n - k])) for k in range(12)]
    expected = 2 * 1.96 * values.std(correction=0).item() / math.sqrt(n)
    assert sum(widths) / len(widths) == pytest.approx(expected, rel=0.05)


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(400):
        interval = bootstrap_mean(3 + normal(80, seed=seed))
        covered += interval.low <= 3 <= interval.high
    assert 0.92 <= covered / 400 <= 0.975


def test_a_paired_difference_sees_the_same_questions() -> None:
    difficulty = normal(300, seed=17)
    better, worse = difficulty + 0.25, difficulty
    assert bounds(bootstrap_mean(better - worse)) == pytest.approx((0.25, 0.25))


def test_a_constant_has_no_width() -> None:
    assert bootstrap_mean(torch.full((7,), 0.5)) == Interval(0.5, 0.5)
    assert bounds(bootstrap_mean(torch.full((40_000,), 0.5))) == pytest.approx((0.5, 0.5), rel=1e-12)


def test_many_resamplings_come_in_pieces() -> None:
    """Together they are 1,000 resamplings of as many rows, and no piece takes more than 64 MiB."""
    questions = 300_000
    pieces = resamplings(questions)
    first = next(pieces)
    assert first.nbytes <= 2**26
    assert (first.sum(axis=1, dtype=np.int64) == questions).all()
    assert sum(piece.shape[0] for piece in resamplings(MOST_RESAMPLED // 64)) == DRAWS


def test_weighted_sums_by_hand() -> None:
    sums = weighted_sums(np.array([[1, 1], [2, 0]], np.int16), np.array([0.5, 0.25]))
    assert sums.tolist() == [0.75, 1.0]


@pytest.mark.parametrize("n", [5_000, 100_000])
def test_it_takes_one_thread(n: int) -> None:
    """Threads that wait for each other in a loop of small steps take far more than this one."""
    values = normal(n, seed=1)
    assert seconds_of_others(lambda: bootstrap_mean(values)) < 0.05


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"not \[0\]"):
        bootstrap_mean(torch.zeros(0))
    with pytest.raises(ValueError, match=r"not \[2, 2\]"):
        bootstrap_mean(torch.zeros(2, 2))
    with pytest.raises(ValueError, match="must be finite, not nan"):
        bootstrap_mean(torch.tensor([0.5, float("nan")]))
