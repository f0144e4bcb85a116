"""Intervals and tests over questions, corrected for multiple comparisons.

The unit that is resampled or swapped is a question with its answers of all seeds, and a measure is the mean over seeds,
as in the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import Interval, paired_share_interval, wilson_interval
from uq4ct.model_store.uncertainty.squared_calibration_error import (
    squared_calibration_error,
    squared_calibration_error_difference,
)
from uq4ct.training.evaluation.scores import BINS, VALUES, ScoredAnswers

MetricName = Literal["accuracy", "calibration", "nll", "brier"]
METRICS: tuple[MetricName, ...] = ("accuracy", "calibration", "nll", "brier")
BOOTSTRAP_DRAWS = 1000
SWAP_DRAWS = 10_000  # the smallest p is 1 / 10,001: enough to stay below 0.05 after a correction for 100 comparisons
LEVEL = 0.95
_CELLS_AT_ONCE = 2**22  # of weights [draws, questions] turned into float64: 32 MiB


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours minus theirs: the value, its 95 % interval, and a two-sided p."""

    value: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Spread:
    """A measure over seeds: mean, standard deviation (None for one seed), 95 % interval of the mean over questions."""

    mean: float
    deviation: float | None
    interval: Interval


def spread_over_seeds(runs: Sequence[ScoredAnswers], metric: MetricName) -> Spread:
    """Return a measure of the runs of one method on one split, one run per seed.

    `calibration` is the root mean squared calibration error; over seeds, the squares are averaged.
    """
    mean, interval = _measure(runs, metric)
    each = [mean] if len(runs) == 1 else [_measure([run], metric)[0] for run in runs]
    return Spread(mean, mean_and_deviation(each)[1], interval)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation; None for a single value."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return numbers.mean().item(), numbers.std().item() if len(values) > 1 else None


def paired_difference(ours: Sequence[ScoredAnswers], theirs: Sequence[ScoredAnswers], metric: MetricName) -> Difference:
    """Compare two methods on the same questions; the i-th runs of both have the same seed.

    `calibration` compares the squared calibration errors by the normal distribution. The other p-values are those of a
    randomisation test: if the methods were equal, their answers to any question could be swapped. That test does not
    suit a calibration error, which differs by chance between two calibrated models whose confidences differ.
    Source: Noreen 1989; Smucker, Allan, Carterette 2007 (randomisation test of paired systems).

    Raises:
        ValueError: the numbers of seeds differ, or the questions do.
    """
    _check_pairs(ours, theirs)
    if metric == "calibration":
        mine, other = ([run.confidences for run in runs] for runs in (ours, theirs))
        found = squared_calibration_error_difference(mine, other, BINS)
        return Difference(found.value, found.interval, found.p)
    values = _values(ours, metric) - _values(theirs, metric)
    interval = paired_share_interval(values) if metric == "accuracy" else _bootstrap(values)
    total = values.sum()
    swapped = total - 2 * _sums(_swaps(len(values)), values)
    beyond = int((swapped.abs() >= total.abs() - 1e-12).sum())  # a swap that changes nothing counts
    return Difference(values.mean().item(), interval, (1 + beyond) / (1 + len(swapped)))


def auroc_gain(runs: Sequence[ScoredAnswers], scores: Sequence[Tensor]) -> tuple[float, Interval] | None:
    """Return the gain in AUROC (right answers against wrong ones) of each run's score [Q] over its confidence.

    The mean over seeds with its 95 % paired bootstrap interval; None if a run has no wrong answer, or no right one.
    """
    if any(run.correct.all() or not run.correct.any() for run in runs):
        return None

    def gains(weights: Tensor) -> Tensor:
        each = [
            _aurocs(score, run.correct, weights) - _aurocs(run.confidence, run.correct, weights)
            for run, score in zip(runs, scores, strict=True)
        ]
        return torch.stack(each).mean(dim=0)

    questions = len(runs[0].correct)
    drawn = gains(_resamplings(questions))
    found = gains(torch.ones(1, questions))
    return found.item(), _percentiles(drawn[~drawn.isnan()])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values: rejecting those below a level keeps the chance of any false rejection below it.

    Source: Holm 1979, in its step-down form: the i-th smallest of n times n - i + 1, made monotone, at most 1.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = highest
    return adjusted


def _measure(runs: Sequence[ScoredAnswers], metric: MetricName) -> tuple[float, Interval]:
    """Return the mean over runs, and its interval."""
    if metric == "calibration":
        found = squared_calibration_error([run.confidences for run in runs], BINS)
        return found.root, found.root_interval
    values = _values(runs, metric)
    share = metric == "accuracy"
    return values.mean().item(), wilson_interval(values.sum().item(), len(values)) if share else _bootstrap(values)


def _values(runs: Sequence[ScoredAnswers], metric: MetricName) -> Tensor:
    """Return a measure that is a mean over questions, as the value of each question: float64 [Q], mean over runs."""
    return torch.stack([VALUES[metric](run) for run in runs]).mean(dim=0)


def _bootstrap(values: Tensor) -> Interval:
    """Return the percentile bootstrap interval of the mean of `values` [Q]."""
    return _percentiles(_sums(_resamplings(len(values)), values) / len(values))


def _aurocs(score: Tensor, positive: Tensor, weights: Tensor) -> Tensor:
    """Return the AUROC [draws] with questions repeated by their weights [draws, Q]; NaN where a class is absent."""
    high, low = score[positive][:, None], score[~positive]
    above = (high > low).double() + (high == low) / 2
    positives, negatives = weights[:, positive].double(), weights[:, ~positive].double()
    pairs = positives.sum(dim=1) * negatives.sum(dim=1)
    return ((positives @ above) * negatives).sum(dim=1) / pairs


def _sums(weights: Tensor, values: Tensor) -> Tensor:
    """Return the sums [draws] of values [Q] with questions repeated by their weights [draws, Q]."""
    chunks = weights.split(max(1, _CELLS_AT_ONCE // weights.shape[1]))
    return torch.cat([chunk.double() @ values for chunk in chunks])


@lru_cache(maxsize=1)
def _resamplings(questions: int) -> Tensor:
    """Return how often each question is drawn, int16 [draws, Q]: the same draws as in `bootstrap_interval`."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randint(questions, (questions,), generator=generator) for _ in range(BOOTSTRAP_DRAWS)]
    return torch.stack([torch.bincount(rows, minlength=questions).to(torch.int16) for rows in drawn])


@lru_cache(maxsize=1)
def _swaps(questions: int) -> Tensor:
    """Return which questions are swapped, 0 or 1 with equal probability, uint8 [draws, Q]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(2, (SWAP_DRAWS, questions), generator=generator, dtype=torch.uint8)


def _percentiles(draws: Tensor) -> Interval:
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = draws.quantile(tails).tolist()
    return Interval(low, high)


def _check_pairs(ours: Sequence[ScoredAnswers], theirs: Sequence[ScoredAnswers]) -> None:
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} runs cannot be paired with {len(theirs)}")
    first = ours[0].answers
    if not all(torch.equal(run.answers, first) for run in (*ours, *theirs)):
        raise ValueError("a paired difference needs the same questions in the same order")
