"""Which of the waiting questions go into the next forward, from their lengths and from what a forward costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

_STEPS_BACK = 100  # forwards that fit in memory until a budget that was lowered to nothing is whole again


class TokenBudget:
    """Tokens of one padded forward: as configured, lower after one did not fit in memory, then slowly more."""

    def __init__(self, configured: int) -> None:
        self.configured = configured
        self.tokens = configured

    def lower(self, tokens: int) -> None:
        """Half of what did not fit."""
        self.tokens = max(1, min(self.tokens, tokens // 2))

    def raise_again(self) -> None:
        """One step back to the configured number, for a forward that did fit."""
        self.tokens = min(self.configured, self.tokens + math.ceil(self.configured / _STEPS_BACK))


def select_batch(lengths: Sequence[int], budget: int, overhead: float) -> list[int]:
    """Choose the indices of the next batch, shortest first: the one that does most for what it costs.

    A forward costs `overhead` and the longest row for every row, padding included; it does the tokens of its
    questions. The oldest question is always among them, so nothing waits for ever. Of all runs of neighbours in length
    that hold it and fit the budget, none does more tokens for one token of cost.

    Args:
        lengths: tokens of each waiting question, at least 1, in the order of arrival; not empty.
        budget: tokens of one forward, padding included; the oldest question alone may be over it.
        overhead: what a forward costs whatever is in it, in tokens.
    """
    by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
    ordered = [lengths[index] for index in by_length]
    done = [0, *accumulate(ordered)]  # tokens of the shortest n
    oldest = by_length.index(0)
    best, best_yield = range(oldest, oldest + 1), ordered[oldest] / (overhead + ordered[oldest])
    for last in range(oldest, len(ordered)):
        longest = ordered[last]
        if (last - oldest + 1) * longest > budget:
            break  # from here on rows only get longer, and more of them are needed to reach back to the oldest
        first = oldest
        while first > 0 and (last - first + 2) * longest <= budget and _pays(first - 1, last, ordered, done, overhead):
            first -= 1
        gained = (done[last + 1] - done[first]) / (overhead + (last - first + 1) * longest)
        if gained >= best_yield:
            best, best_yield = range(first, last + 1), gained
    return [by_length[position] for position in best]


def _pays(candidate: int, last: int, ordered: Sequence[int], done: Sequence[int], overhead: float) -> bool:
    """Whether one more row, shorter than the others, does at least as much for its cost as they do for theirs."""
    rows, longest = last - candidate, ordered[last]
    return ordered[candidate] * (overhead + rows * longest) >= (done[last + 1] - done[candidate + 1]) * longest
