"""Confidence thresholds for answering that guarantee a risk or a coverage with a stated probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.ranking import check_pairs

GRID = tuple(step / 100 for step in range(100))  # candidate thresholds, fixed before any data are seen
RISK_STARTS = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.3)
_BISECTIONS = 60


class TargetNotMetError(ValueError):
    """No threshold meets the target; the message states the best target that can be met."""


@dataclass(frozen=True, slots=True)
class SelectiveThreshold:
    """Answer if the confidence is at least `threshold`.

    `risk_bound` is the upper bound of the error rate among the answered, `coverage_bound` the lower bound of the
    answered share, each at the level it was tested with; `risk` and `coverage` are the split's own values.
    """

    threshold: float
    risk: float
    risk_bound: float
    coverage: float
    coverage_bound: float


def binomial_upper_bound(successes: int, trials: int, delta: float) -> float:
    """Return the largest rate at which at most `successes` of `trials` still have probability `delta`.

    It is 1 without trials. Source: Clopper and Pearson 1934, one-sided.

    Raises:
        ValueError: `successes` is not between 0 and `trials`, or `delta` not between 0 and 1.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be between 0 and the {trials} trials, not {successes}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, not {delta}")
    if successes == trials:
        return 1.0
    low, high = successes / trials, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _log_binomial_cdf(successes, trials, middle) > math.log(delta):
            low = middle
        else:
            high = middle
    return high


def threshold_for_risk(confidence: Tensor, correct: Tensor, risk: float, delta: float) -> SelectiveThreshold:
    """Return the threshold with the most answers whose error rate is at most `risk`, except with probability `delta`.

    `confidence` [B], `correct` bool [B]: a fresh sample of the questions to be answered. Fixed-sequence testing: from
    each start, walk down a grid fixed in advance and test each threshold by the exact binomial bound at level `delta`
    divided by the number of starts, until a test fails. The first threshold of a walk that violates the target passes
    with at most that probability, so all passed thresholds hold together. Source: Angelopoulos et al. 2021, "Learn then
    Test", section 4.

    Raises:
        TargetNotMetError: no start passes its test; the message states the best bound of a start.
        ValueError: `risk` or `delta` is outside (0, 1), or there are no questions.
    """
    _check(confidence, correct, "risk", risk, delta)
    level = delta / len(RISK_STARTS)
    best = None
    walking = False
    for threshold in reversed([value for value in GRID if value <= RISK_STARTS[0]]):
        walking = (walking or threshold in RISK_STARTS) and _risk_holds(confidence, correct, threshold, risk, level)
        best = threshold if walking else best
    if best is None:
        lowest = min(_measure(confidence, correct, start, level).risk_bound for start in RISK_STARTS)
        raise TargetNotMetError(
            f"no threshold guarantees a risk of {risk} with confidence {1 - delta:g}: the lowest risk that these "
            f"{len(correct)} questions can guarantee is {math.ceil(lowest * 1000) / 1000}"
        )
    return _measure(confidence, correct, best, level)


def threshold_for_coverage(confidence: Tensor, correct: Tensor, coverage: float, delta: float) -> SelectiveThreshold:
    """Return the highest threshold that at least `coverage` of the questions reach, except with probability `delta`.

    Tests one fixed sequence up the grid from 0, where every question is answered. Raises ValueError as
    `threshold_for_risk` does.
    """
    _check(confidence, correct, "coverage", coverage, delta)
    best = GRID[0]
    for threshold in GRID[1:]:
        below = int((confidence < threshold).sum())
        if _log_binomial_cdf(below, len(confidence), 1 - coverage) > math.log(delta):
            break
        best = threshold
    return _measure(confidence, correct, best, delta)


def _risk_holds(confidence: Tensor, correct: Tensor, threshold: float, risk: float, level: float) -> bool:
    """Return whether the upper bound of the error rate at the threshold is at most `risk`."""
    count, errors = _count(confidence, correct, threshold)
    return errors < count and _log_binomial_cdf(errors, count, risk) <= math.log(level)


def _count(confidence: Tensor, correct: Tensor, threshold: float) -> tuple[int, int]:
    """Count the answered questions and the wrong ones among them."""
    answered = confidence >= threshold
    return int(answered.sum()), int((answered & ~correct).sum())


def _measure(confidence: Tensor, correct: Tensor, threshold: float, level: float) -> SelectiveThreshold:
    count, errors = _count(confidence, correct, threshold)
    total = len(correct)
    return SelectiveThreshold(
        threshold,
        risk=errors / count if count else 0.0,
        risk_bound=binomial_upper_bound(errors, count, level) if count else 1.0,
        coverage=count / total,
        coverage_bound=1 - binomial_upper_bound(total - count, total, level) if threshold > 0 else 1.0,
    )


def _log_binomial_cdf(successes: int, trials: int, rate: float) -> float:
    """log P(X <= successes) for X ~ Bin(trials, rate), 0 < rate < 1."""
    k = torch.arange(successes + 1, dtype=torch.float64)
    n = torch.tensor(float(trials), dtype=torch.float64)
    choose = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    terms = choose + k * math.log(rate) + (n - k) * math.log1p(-rate)
    return terms.logsumexp(dim=0).item()


def _check(confidence: Tensor, correct: Tensor, name: str, value: float, delta: float) -> None:
    check_pairs(confidence, correct, ("confidence", "correct"))
    if len(correct) == 0:
        raise ValueError("a threshold needs at least 1 question, not 0")
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, not {value}")
    if not 0 < delta < 1:
        raise ValueError(f"delta must be between 0 and 1, not {delta}")
