"""How many of several independent trials succeed if each has a probability of its own (Poisson binomial)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 63  # trials whose distribution is computed trial by trial: it then has 64 entries, a good size for an FFT


def success_distributions(
    probability: NDArray[np.float64], group: NDArray[np.int64], groups: int
) -> list[NDArray[np.float64]]:
    """Return, for each group of n trials, the probabilities of 0..n successes: float64 [n + 1], exact to 1e-12.

    `probability` [B] in [0, 1] of each trial, `group` [B] in 0..groups - 1. Blocks of trials are computed trial by
    trial, all blocks at once; the distributions of a group's blocks are then convolved in pairs by FFT.
    Source: Biscarri, Zhao, Brunner 2018, "A simple and fast method for computing the Poisson binomial distribution
    function".

    numpy computes this in the calling thread: threads of torch would wait actively for each other most of the time.
    """
    trials = np.bincount(group, minlength=groups)
    size = max(1, min(_BLOCK, int(trials.max(initial=0))))
    blocks = -(-trials // size)  # per group, rounded up
    first = np.cumsum(blocks) - blocks
    order = np.argsort(group, kind="stable")
    place = np.arange(len(group)) - np.repeat(np.cumsum(trials) - trials, trials)
    row = np.repeat(first, trials) + place // size
    table = np.zeros((size, int(blocks.sum())))  # a trial that cannot succeed changes nothing
    table[place % size, row] = probability[order]
    distributions = _trial_by_trial(table).T
    return [
        _convolve(distributions[start : start + number])[: count + 1]
        for start, number, count in zip(first, blocks, trials, strict=True)
    ]


def _trial_by_trial(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distributions [trials + 1, blocks] of blocks with these probabilities [trials, blocks]."""
    found = np.zeros((len(table) + 1, table.shape[1]))
    found[0] = 1
    for done, probability in enumerate(table, start=1):
        success = found[:done] * probability
        found[:done] *= 1 - probability
        found[1 : done + 1] += success
    return found


def _convolve(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distribution of the sum of independent counts, whose distributions are the rows; [1] if none."""
    if len(rows) == 0:
        return np.ones(1)
    while len(rows) > 1:
        width = 2 * rows.shape[1]
        transformed = np.fft.rfft(rows, width)
        single = transformed[-1:] if len(rows) % 2 else transformed[:0]
        pairs = transformed[: len(rows) - len(single)]
        rows = np.fft.irfft(np.concatenate([pairs[::2] * pairs[1::2], single]), width)
    return np.maximum(rows[0], 0.0)  # rounding may leave values just below 0
