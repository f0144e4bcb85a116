"""Intervals by resampling questions with replacement."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import Interval


def bootstrap_interval(
    statistic: Callable[[Tensor], float], n: int, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the percentile bootstrap interval of a statistic over `n` questions.

    `statistic` gets the indices of questions drawn with replacement, long [n] on the CPU, and returns its value on
    them; for a paired comparison of two models it is the difference of their values on the same indices. Resampling
    adds noise to noise: if noise biases a statistic upwards, as with ECE, the interval is too high and may exclude the
    value on all questions.
    Raises ValueError on n or draws below 1, a level outside (0, 1), and a statistic that is not finite.
    Source: Efron and Tibshirani 1993, chapter 13.
    """
    if n < 1 or draws < 1:
        raise ValueError(f"n and draws must be at least 1, not {n} and {draws}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    generator = torch.Generator().manual_seed(seed)
    values = [statistic(torch.randint(n, (n,), generator=generator)) for _ in range(draws)]
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"statistic must be finite, not {value}")
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.tensor(values, dtype=torch.float64).quantile(tails).tolist()
    return Interval(low, high)
