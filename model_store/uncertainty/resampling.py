"""Intervals by resampling questions with replacement.

numpy computes them in the calling thread. The threads of torch wait actively for each other, and most of the time only
one of them has something to do, since random numbers are drawn one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uq4ct.model_store.uncertainty.intervals import Interval

DRAWS = 1000
_SEED = 0
_TAILS = (0.025, 0.975)
MOST_RESAMPLED = 2**15  # questions whose counts are kept for the next interval
_COUNTS_AT_ONCE = 2**25  # 64 MiB
_CELLS_PER_ROOT = 8  # cells of n values, divided by the root of n
_CELL_COUNTS_AT_ONCE = 2**20  # 8 MiB


def bootstrap_mean(values: Tensor) -> Interval:
    """Return the 95 % percentile bootstrap interval of the mean of `values` [n].

    All values over as many questions see the same resamplings: pass the differences of two models for a paired
    interval. More than 32,768 values are sorted into cells of equal width, and the resamplings draw from the cells,
    each with its mean as value. Their variance is then at most 0.8 % below that of the values: the width w of a cell
    is at most 1 / (8 sqrt(n)) of the range R, the variance within cells at most w^2 / 4, and that of all values at
    least R^2 / (2 n).
    Raises ValueError on no values and on values that are not finite. Source: Efron and Tibshirani 1993, chapter 13.
    """
    column = values.detach().to("cpu", torch.float64).numpy()
    if column.ndim != 1 or len(column) == 0:
        raise ValueError(f"values must be [n] with n >= 1, not {list(values.shape)}")
    if not np.isfinite(column).all():
        raise ValueError(f"values must be finite, not {column[~np.isfinite(column)][0]}")
    drawn = _resampled_sums(column) if len(column) <= MOST_RESAMPLED else _resampled_sums_of_cells(column)
    return percentile_interval(drawn / len(column))


def resamplings(questions: int) -> Iterator[NDArray[np.int16]]:
    """Yield how often each question is drawn, in 1,000 resamplings [draws, questions], in pieces of at most 64 MiB."""
    if questions <= MOST_RESAMPLED:
        yield _kept_resamplings(questions)
    else:
        yield from _draw_resamplings(questions)


def weighted_sums(weights: NDArray[np.integer], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums [draws] of `values` [n] times their weights [draws, n]."""
    return np.einsum("dn,n->d", weights, values)


def percentile_interval(drawn: NDArray[np.float64]) -> Interval:
    """Return the interval from the 2.5th to the 97.5th percentile of draws of a statistic."""
    low, high = np.quantile(drawn, _TAILS).tolist()
    return Interval(low, high)


def _resampled_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([weighted_sums(counts, values) for counts in resamplings(len(values))])


def _resampled_sums_of_cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = values.min(), values.max()
    cells = math.ceil(_CELLS_PER_ROOT * math.sqrt(len(values)))
    width = (high - low) / cells
    cell = ((values - low) / width).astype(np.int64).clip(max=cells - 1) if width > 0 else np.zeros(len(values), int)
    count = np.bincount(cell)
    mean = np.bincount(cell, weights=values)[count > 0] / count[count > 0]
    share = count[count > 0] / len(values)
    source = np.random.default_rng(_SEED)
    pieces = np.array_split(np.arange(DRAWS), math.ceil(DRAWS * len(mean) / _CELL_COUNTS_AT_ONCE))
    return np.concatenate([weighted_sums(source.multinomial(len(values), share, len(piece)), mean) for piece in pieces])


@lru_cache(maxsize=1)
def _kept_resamplings(questions: int) -> NDArray[np.int16]:
    (counts,) = _draw_resamplings(questions)
    return counts


def _draw_resamplings(questions: int) -> Iterator[NDArray[np.int16]]:
    generator = torch.Generator().manual_seed(_SEED)
    at_once = max(1, _COUNTS_AT_ONCE // questions)
    for start in range(0, DRAWS, at_once):
        counts = np.empty((min(at_once, DRAWS - start), questions), np.int16)
        for row in counts:
            row[:] = np.bincount(torch.randint(questions, (questions,), generator=generator), minlength=questions)
        yield counts
