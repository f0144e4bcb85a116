"""Intervals and tests over questions, corrected for multiple comparisons.

The unit that is resampled or swapped is a question with its answers of all seeds, and a measure is the mean over seeds,
as in the tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import Interval, paired_share_interval, wilson_interval
from uq4ct.model_store.uncertainty.resampling import bootstrap_mean, percentile_interval, resamplings, weighted_sums
from uq4ct.model_store.uncertainty.squared_calibration_error import (
    squared_calibration_error,
    squared_calibration_error_difference,
)
from uq4ct.training.evaluation.scores import BINS, VALUES, ScoredAnswers

MetricName = Literal["accuracy", "calibration", "nll", "brier"]
METRICS: tuple[MetricName, ...] = ("accuracy", "calibration", "nll", "brier")
SWAP_DRAWS = 10_000  # the smallest p is 1 / 10,001: enough to stay below 0.05 after a correction for 100 comparisons
LEVEL = 0.95
_SWAPS_AT_ONCE = 2**27  # 128 MiB
_CELLS_AT_ONCE = 2**20  # of weights [draws, questions] that are sorted: 8 MiB


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
    each = [mean] if len(runs) == 1 else [_value([run], metric) for run in runs]
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
    interval = paired_share_interval(values) if metric == "accuracy" else bootstrap_mean(values)
    return Difference(values.mean().item(), interval, _swap_p(values.numpy()))


def auroc_gain(runs: Sequence[ScoredAnswers], scores: Sequence[Tensor]) -> tuple[float, Interval] | None:
    """Return the gain in AUROC (right answers against wrong ones) of each run's score [Q] over its confidence.

    The mean over seeds with its 95 % paired bootstrap interval; None if a run has no wrong answer, or no right one.
    """
    if any(run.correct.all() or not run.correct.any() for run in runs):
        return None

    def gains(weights: NDArray[np.integer]) -> NDArray[np.float64]:
        each = [
            _aurocs(score, run.correct, weights) - _aurocs(run.confidence, run.correct, weights)
            for run, score in zip(runs, scores, strict=True)
        ]
        return np.mean(each, axis=0)

    questions = len(runs[0].correct)
    drawn = np.concatenate([gains(counts) for counts in resamplings(questions)])
    (found,) = gains(np.ones((1, questions), np.int16)).tolist()
    return found, percentile_interval(drawn[~np.isnan(drawn)])


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
    return values.mean().item(), wilson_interval(values.sum().item(), len(values)) if share else bootstrap_mean(values)


def _value(runs: Sequence[ScoredAnswers], metric: MetricName) -> float:
    """Return the mean over runs, without its interval, which takes most of the time."""
    return _measure(runs, metric)[0] if metric == "calibration" else _values(runs, metric).mean().item()


def _values(runs: Sequence[ScoredAnswers], metric: MetricName) -> Tensor:
    """Return a measure that is a mean over questions, as the value of each question: float64 [Q], mean over runs."""
    return torch.stack([VALUES[metric](run) for run in runs]).mean(dim=0)


def _swap_p(values: NDArray[np.float64]) -> float:
    """Return the two-sided p of the sum of `values` [Q] if each had either sign with equal probability."""
    total = values.sum()
    beyond = 0
    for swapped in _swaps(len(values)):
        sums = total - 2 * weighted_sums(swapped, values)
        beyond += int((np.abs(sums) >= abs(total) - 1e-12).sum())  # a swap that changes nothing counts
    return (1 + beyond) / (1 + SWAP_DRAWS)


def _swaps(questions: int) -> Iterator[NDArray[np.uint8]]:
    """Yield which questions are swapped, 0 or 1 with equal probability [draws, Q], in pieces of at most 128 MiB."""
    if questions * SWAP_DRAWS <= _SWAPS_AT_ONCE:
        yield _kept_swaps(questions)
    else:
        yield from _draw_swaps(questions)


@lru_cache(maxsize=1)
def _kept_swaps(questions: int) -> NDArray[np.uint8]:
    (swaps,) = _draw_swaps(questions)
    return swaps


def _draw_swaps(questions: int) -> Iterator[NDArray[np.uint8]]:
    generator = torch.Generator().manual_seed(0)
    at_once = max(1, _SWAPS_AT_ONCE // questions)
    for start in range(0, SWAP_DRAWS, at_once):
        shape = (min(at_once, SWAP_DRAWS - start), questions)
        yield torch.randint(2, shape, generator=generator, dtype=torch.uint8).numpy()


def _aurocs(score: Tensor, positive: Tensor, weights: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the AUROC [draws] with questions repeated by their weights [draws, Q]; NaN where a class is absent."""
    order = score.argsort()
    ordered, positives = score[order].numpy(), positive[order].numpy()
    first = np.flatnonzero(np.append(True, ordered[1:] > ordered[:-1]))  # of the questions with the same score
    pieces = np.array_split(weights, max(1, weights.size // _CELLS_AT_ONCE))
    return np.concatenate([_aurocs_of_sorted(piece[:, order.numpy()], positives, first) for piece in pieces])


def _aurocs_of_sorted(
    weights: NDArray[np.integer], positive: NDArray[np.bool_], first: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the AUROC [draws] of questions by rising score; `first` are those with a new score."""
    positives = np.add.reduceat(weights * positive, first, axis=1, dtype=np.int64)
    negatives = np.add.reduceat(weights, first, axis=1, dtype=np.int64) - positives
    below = negatives.cumsum(axis=1) - negatives
    won = (positives * (2 * below + negatives)).sum(axis=1) / 2
    with np.errstate(invalid="ignore"):
        return won / (positives.sum(axis=1) * negatives.sum(axis=1))


def _check_pairs(ours: Sequence[ScoredAnswers], theirs: Sequence[ScoredAnswers]) -> None:
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} runs cannot be paired with {len(theirs)}")
    first = ours[0].answers
    if not all(torch.equal(run.answers, first) for run in (*ours, *theirs)):
        raise ValueError("a paired difference needs the same questions in the same order")
