"""The squared calibration error over bins of confidence: debiased, with an interval that holds.

The plug-in ECE of a calibrated model is above 0 by chance, by an amount that depends on its confidences, so neither an
interval around it nor a difference of two is about calibration. The debiased squared error has the expectation 0 there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from uq4ct.model_store.uncertainty.bins import BINS
from uq4ct.model_store.uncertainty.calibration_error import confidence_bin, reliability_bins
from uq4ct.model_store.uncertainty.intervals import NORMAL_97_5, Interval, wilson_interval


class Confidences(NamedTuple):
    """The answers of one run: `confidence` [B] in [0, 1] and whether each is `correct`, bool [B]."""

    confidence: Tensor
    correct: Tensor


@dataclass(frozen=True, slots=True)
class SquaredError:
    """An estimate of a squared calibration error, or of a difference of two: signed, below 0 by chance."""

    value: float
    standard_error: float

    @property
    def interval(self) -> Interval:
        """The 95 % interval, not limited to values that a squared error can have."""
        spread = NORMAL_97_5 * self.standard_error
        return Interval(self.value - spread, self.value + spread)

    @property
    def p(self) -> float:
        """The two-sided p-value of the value 0."""
        if self.standard_error == 0:
            return 1.0
        return math.erfc(abs(self.value) / self.standard_error / math.sqrt(2))

    @property
    def root(self) -> float:
        """The root mean squared calibration error, in [0, 1]; 0 where the estimate is not positive."""
        return _root(self.value)

    @property
    def root_interval(self) -> Interval:
        """The 95 % interval of the root mean squared calibration error."""
        return Interval(_root(self.interval.low), _root(self.interval.high))


def squared_calibration_error(runs: Sequence[Confidences], bins: int = BINS) -> SquaredError:
    """Estimate sum_b share_b (accuracy_b - confidence_b)^2 over equal-width bins, as the mean over runs.

    All runs answer the same questions. From each bin's squared gap its noise is subtracted: the variance of
    correctness minus confidence, divided by the number of questions. A bin with one question says nothing about its
    noise and adds 0 to the value. Source of the estimator: Kumar, Liang, Ma 2019, "Verified Uncertainty
    Calibration", section 5.

    The interval is normal, with the variance of a quadratic form (below), in which the estimated gaps replace the
    true ones. Where the model is calibrated that makes the variance too large by a factor of 3, which outweighs the
    form's long tail there. The noise of a bin is at least that of the rate at the end of its 95 % score interval that
    is nearer to 1/2, so that a bin without an error is not free of noise.

    Raises:
        ValueError: there are no runs or no questions, the runs differ in length, or as in `reliability_bins`.
    """
    return _estimate([(1 / len(runs), run) for run in runs], bins)


def squared_calibration_error_difference(
    ours: Sequence[Confidences], theirs: Sequence[Confidences], bins: int = BINS
) -> SquaredError:
    """Estimate the squared calibration error of ours minus theirs on the same questions, each the mean over its runs.

    What all runs have in common on a question cancels in the interval. Raises as `squared_calibration_error` does.
    """
    signed = [(1 / len(ours), run) for run in ours] + [(-1 / len(theirs), run) for run in theirs]
    return _estimate(signed, bins)


class _Parts(NamedTuple):
    """One run, float64: the estimate, the gap of each bin times the root of its share [bins], the bin of each question
    and its deviation from the gap of that bin [B], the factor from a deviation to noise and the noise of bins whose
    questions show none [bins], and each question's squared gap [B]."""

    value: float
    gaps: NDArray[np.float64]
    bin: NDArray[np.int64]
    deviations: NDArray[np.float64]
    scale: NDArray[np.float64]
    further_noise: NDArray[np.float64]
    squared: NDArray[np.float64]


def _root(squared: float) -> float:
    return math.sqrt(min(max(squared, 0.0), 1.0))


def _estimate(weighted: Sequence[tuple[float, Confidences]], bins: int) -> SquaredError:
    """Combine runs with their weights.

    With gaps v and their noise e of covariance C, over all bins of all runs, and D the weights, the estimate is
    (v + e)' D (v + e) minus its noise. Its variance is 4 v' D C D v + 2 tr(D C D C), and that of the shares of bins.
    """
    lengths = {len(run.confidence) for _, run in weighted}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"a calibration error needs runs on the same questions, at least 1, not {sorted(lengths)}")
    parts = [_parts(run, bins) for _, run in weighted]
    weights = np.array([weight for weight, _ in weighted])
    covariance = np.block([[_covariance(part, other, bins) for other in parts] for part in parts])
    covariance += np.diag(np.concatenate([part.further_noise for part in parts]))
    each = weights.repeat(bins)
    weighted_gaps = each * np.concatenate([part.gaps for part in parts])
    linear = 4 * np.einsum("a,ab,b->", weighted_gaps, covariance, weighted_gaps)
    quadratic = 2 * np.einsum("a,b,ab->", each, each, covariance**2)
    squared = sum(weight * part.squared for weight, part in zip(weights, parts, strict=True))
    shares = np.square(squared - np.mean(squared)).sum() / np.size(squared) ** 2
    value = sum(weight * part.value for weight, part in zip(weights.tolist(), parts, strict=True))
    return SquaredError(value, math.sqrt(max(float(linear + quadratic + shares), 0.0)))


def _covariance(one: _Parts, other: _Parts, bins: int) -> NDArray[np.float64]:
    """Return the covariance of the noise of one run's bins with that of another run's [bins, bins]."""
    cell = one.bin * bins + other.bin
    products = np.bincount(cell, weights=one.deviations * other.deviations, minlength=bins**2)
    return products.reshape(bins, bins) * one.scale[:, None] * other.scale


def _parts(run: Confidences, bins: int) -> _Parts:
    table = reliability_bins(run.confidence, run.correct, bins)
    sums = (table.count, table.confidence_sum, table.correct_sum)
    count, confidence_sum, correct_sum = (column.numpy() for column in sums)
    questions = len(run.confidence)
    usable = count > 1
    divisor = np.where(usable, count, 2.0)  # 2 keeps the unusable bins finite
    gap = np.where(usable, (correct_sum - confidence_sum) / divisor, 0.0)
    index = confidence_bin(run.confidence, bins).numpy()
    deviations = (run.correct.double() - run.confidence.double()).cpu().numpy() - gap[index]
    deviations *= usable[index]
    variance = np.bincount(index, weights=deviations**2, minlength=bins) / (divisor - 1)
    least = np.array([_rate_variance(*rate) for rate in zip(correct_sum.tolist(), count.tolist(), strict=True)])
    varied = variance > 0
    larger = np.where(varied, np.maximum(least / np.where(varied, variance, 1.0), 1.0), 1.0)
    return _Parts(
        value=float((count * gap**2).sum() - variance.sum()) / questions,
        gaps=np.sqrt(count / questions) * gap,
        bin=index,
        deviations=deviations,
        scale=np.sqrt(larger / ((divisor - 1) * questions)),
        further_noise=np.where(varied, 0.0, least) / questions,
        squared=gap[index] ** 2,
    )


def _rate_variance(successes: float, trials: float) -> float:
    """Return r (1 - r) of the rate r in the 95 % score interval that is nearest to 1/2; 0 without trials."""
    if trials == 0:
        return 0.0
    interval = wilson_interval(successes, int(trials))
    rate = min(max(0.5, interval.low), interval.high)
    return rate * (1 - rate)
