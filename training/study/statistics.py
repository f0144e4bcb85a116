"""Intervals and randomisation tests over questions, corrected for multiple comparisons.

The unit that is resampled or swapped is a question with its answers of all seeds, and a measure is the mean over seeds,
as in the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from uq4ct.model_store.storage.manifest import Interval
from uq4ct.model_store.uncertainty.calibration_error import confidence_bin
from uq4ct.model_store.uncertainty.proper_scores import brier_score, negative_log_likelihood
from uq4ct.training.evaluation.scores import BINS, ScoredAnswers

MetricName = Literal["accuracy", "ece", "nll", "brier"]
METRICS: tuple[MetricName, ...] = ("accuracy", "ece", "nll", "brier")
BOOTSTRAP_DRAWS = 1000
SWAP_DRAWS = 10_000  # the smallest p is 1 / 10,001: enough to stay below 0.05 after a correction for 100 comparisons
LEVEL = 0.95
_CELLS_AT_ONCE = 2**22  # of weights [draws, questions] turned into float64: 32 MiB


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours minus theirs: the value, its 95 % bootstrap interval, and the two-sided p of a randomisation test."""

    value: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Spread:
    """A measure over seeds: mean, standard deviation (None for one seed), 95 % bootstrap interval of the mean."""

    mean: float
    deviation: float | None
    interval: Interval


def spread_over_seeds(runs: Sequence[ScoredAnswers], metric: MetricName) -> Spread:
    """Return a measure of the runs of one method on one split, one run per seed; the interval is over questions."""
    parts = _parts(runs, metric)
    draws = _measure(_sums(_resamplings(len(parts)), parts), metric, runs)
    each = [_measure(_parts([run], metric).sum(dim=0), metric, [run]).item() for run in runs]
    mean, deviation = mean_and_deviation(each)
    return Spread(mean, deviation, _percentiles(draws))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the sample standard deviation; None for a single value."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return numbers.mean().item(), numbers.std().item() if len(values) > 1 else None


def paired_difference(ours: Sequence[ScoredAnswers], theirs: Sequence[ScoredAnswers], metric: MetricName) -> Difference:
    """Compare two methods on the same questions; the i-th runs of both have the same seed.

    The p-value is that of a randomisation test: if the methods were equal, their answers to any question could be
    swapped. ECE is not a mean over questions, so it is recomputed from its bins after each swap.
    Source: Noreen 1989; Smucker, Allan, Carterette 2007 (randomisation test of paired systems).

    Raises:
        ValueError: the numbers of seeds differ, or the questions do.
    """
    _check_pairs(ours, theirs)
    our_parts, their_parts = _parts(ours, metric), _parts(theirs, metric)

    def difference(our_sums: Tensor, their_sums: Tensor) -> Tensor:
        return _measure(our_sums, metric, ours) - _measure(their_sums, metric, theirs)

    found = difference(our_parts.sum(dim=0), their_parts.sum(dim=0))
    drawn = _resamplings(len(our_parts))
    interval = _percentiles(difference(_sums(drawn, our_parts), _sums(drawn, their_parts)))
    moved = _sums(_swaps(len(our_parts)), their_parts - our_parts)
    swapped = difference(our_parts.sum(dim=0) + moved, their_parts.sum(dim=0) - moved)
    beyond = int((swapped.abs() >= found.abs() - 1e-12).sum())  # a swap that changes nothing counts
    return Difference(found.item(), interval, (1 + beyond) / (1 + len(swapped)))


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


def _parts(runs: Sequence[ScoredAnswers], metric: MetricName) -> Tensor:
    """Return the contribution of each question to the sums of a measure, float64 [Q, K], runs side by side."""
    return torch.cat([_PARTS[metric](run) for run in runs], dim=1)


def _measure(sums: Tensor, metric: MetricName, runs: Sequence[ScoredAnswers]) -> Tensor:
    """Return the measure [...], mean over runs, from sums [..., K] over all questions."""
    total = sums.abs().sum(dim=-1) if metric == "ece" else sums.sum(dim=-1)
    return total / (len(runs) * len(runs[0].answers))


def _bin_gaps(run: ScoredAnswers) -> Tensor:
    """Return correctness minus confidence in the column of its bin: the absolute column sums add up to the ECE."""
    gaps = run.correct.double() - run.confidence
    return one_hot(confidence_bin(run.confidence, BINS), BINS) * gaps[:, None]


_PARTS: Mapping[MetricName, Callable[[ScoredAnswers], Tensor]] = {
    "accuracy": lambda run: run.correct.double()[:, None],
    "ece": _bin_gaps,
    "nll": lambda run: negative_log_likelihood(run.probabilities, run.answers)[:, None],
    "brier": lambda run: brier_score(run.probabilities, run.answers)[:, None],
}


def _aurocs(score: Tensor, positive: Tensor, weights: Tensor) -> Tensor:
    """Return the AUROC [draws] with questions repeated by their weights [draws, Q]; NaN where a class is absent."""
    high, low = score[positive][:, None], score[~positive]
    above = (high > low).double() + (high == low) / 2
    positives, negatives = weights[:, positive].double(), weights[:, ~positive].double()
    pairs = positives.sum(dim=1) * negatives.sum(dim=1)
    return ((positives @ above) * negatives).sum(dim=1) / pairs


def _sums(weights: Tensor, parts: Tensor) -> Tensor:
    """Return the sums [draws, K] of parts [Q, K] with questions repeated by their weights [draws, Q]."""
    chunks = weights.split(max(1, _CELLS_AT_ONCE // weights.shape[1]))
    return torch.cat([chunk.double() @ parts for chunk in chunks])


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
    return Interval(low=low, high=high)


def _check_pairs(ours: Sequence[ScoredAnswers], theirs: Sequence[ScoredAnswers]) -> None:
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} runs cannot be paired with {len(theirs)}")
    first = ours[0].answers
    if not all(torch.equal(run.answers, first) for run in (*ours, *theirs)):
        raise ValueError("a paired difference needs the same questions in the same order")
