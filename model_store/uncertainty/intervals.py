"""Intervals, and those of shares: of a proportion, and of the difference of two proportions on the same questions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

NORMAL_97_5 = 1.959963984540054  # the 97.5th percentile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval."""

    low: float
    high: float


def wilson_interval(successes: float, trials: int) -> Interval:
    """Return the 95 % score interval of a share; `successes` may be a mean over several runs on the same trials.

    Unlike a bootstrap, it has a width where all trials agree: 5 of 5 give [0.566, 1]. Source: Wilson 1927.

    Raises:
        ValueError: there are no trials, or `successes` is not between 0 and `trials`.
    """
    if trials < 1:
        raise ValueError(f"trials must be at least 1, not {trials}")
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be between 0 and the {trials} trials, not {successes}")
    square = NORMAL_97_5**2
    center = (successes + square / 2) / (trials + square)
    spread = math.sqrt(successes * (trials - successes) / trials + square / 4) * NORMAL_97_5 / (trials + square)
    # At shares of 0 and 1, rounding may put the share itself outside.
    share = successes / trials
    return Interval(max(min(center - spread, share), 0.0), min(max(center + spread, share), 1.0))


def paired_share_interval(differences: Tensor) -> Interval:
    """Return the 95 % interval of the mean of `differences` [n] in [-1, 1], each of two shares on the same question.

    It is the normal interval after one further question that each side alone got right, half each way, so it has a
    width where both always agree. Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing
    matched proportions".

    Raises:
        ValueError: there are no differences.
    """
    if len(differences) == 0:
        raise ValueError("an interval needs at least 1 question, not 0")
    values = differences.double()
    total, squares, trials = values.sum().item(), values.square().sum().item() + 1, len(values) + 2
    spread = NORMAL_97_5 * math.sqrt(max(squares - total**2 / trials, 0.0)) / trials
    return Interval(max(total / trials - spread, -1.0), min(total / trials + spread, 1.0))
