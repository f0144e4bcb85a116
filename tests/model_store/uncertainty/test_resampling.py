"""The bootstrap interval has its coverage, and a paired one is narrow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import Interval
from uq4ct.model_store.uncertainty.resampling import bootstrap_interval


def mean_of(values: Tensor):
    return lambda index: values[index].mean().item()


def test_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    generator = torch.Generator().manual_seed(11)
    covered = 0
    for seed in range(400):
        interval = bootstrap_interval(
            mean_of(3 + torch.randn(80, generator=generator)), n=80, draws=200, level=0.95, seed=seed
        )
        covered += interval.low <= 3 <= interval.high
    assert 0.92 <= covered / 400 <= 0.975


def test_interval_meets_the_normal_one_for_a_mean() -> None:
    values = torch.randn(2000, generator=torch.Generator().manual_seed(13), dtype=torch.float64)
    standard_error = values.std(correction=0).item() / 2000**0.5
    for level, z in ((0.95, 1.960), (0.8, 1.2816)):
        interval = bootstrap_interval(mean_of(values), n=2000, draws=2000, level=level)
        assert interval.low == pytest.approx(values.mean().item() - z * standard_error, abs=0.15 * standard_error)
        assert interval.high == pytest.approx(values.mean().item() + z * standard_error, abs=0.15 * standard_error)


def test_a_paired_difference_sees_the_same_questions() -> None:
    difficulty = torch.randn(300, generator=torch.Generator().manual_seed(17), dtype=torch.float64)
    better, worse = mean_of(difficulty + 0.25), mean_of(difficulty)
    paired = bootstrap_interval(lambda index: better(index) - worse(index), n=300)
    assert paired.low == pytest.approx(0.25)
    assert paired.high == pytest.approx(0.25)


def test_the_seed_decides() -> None:
    statistic = mean_of(torch.arange(50, dtype=torch.float64))
    torch.manual_seed(1)
    first = bootstrap_interval(statistic, n=50, seed=4)
    torch.manual_seed(2)
    assert bootstrap_interval(statistic, n=50, seed=4) == first
    assert bootstrap_interval(statistic, n=50, seed=5) != first


def test_a_constant_has_no_width() -> None:
    assert bootstrap_interval(lambda index: 0.5, n=7) == Interval(0.5, 0.5)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="not 0 and 1000"):
        bootstrap_interval(lambda index: 0.0, n=0)
    with pytest.raises(ValueError, match="not 5 and 0"):
        bootstrap_interval(lambda index: 0.0, n=5, draws=0)
    with pytest.raises(ValueError, match=r"not 1\.0"):
        bootstrap_interval(lambda index: 0.0, n=5, level=1.0)
    with pytest.raises(ValueError, match="not nan"):
        bootstrap_interval(lambda index: float("nan"), n=5)
