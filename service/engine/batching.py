"""Choose the waiting questions of the next forward by their lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable

_STEPS_BACK = 100  # successful forwards that restore a budget lowered to almost nothing


class TokenBudget:
    """Token budget of one forward: lowered when a forward does not fit in memory, then slowly raised again."""

    def __init__(self, configured: int) -> None:
        self.configured = configured
        self.tokens = configured

    def lower(self, tokens: int) -> None:
        """Lower the budget to half of the tokens that did not fit."""
        self.tokens = max(1, min(self.tokens, tokens // 2))

    def raise_again(self) -> None:
        """Raise the budget by one step, up to the configured number, after a forward that did fit."""
        self.tokens = min(self.configured, self.tokens + math.ceil(self.configured / _STEPS_BACK))


def count_fitting(lengths: Iterable[int], budget: int) -> int:
    """Return how many of the waiting questions, oldest first, fit in the next forward; at least one.

    Questions are not sorted by length or held back: a forward has no padding, so longer questions do not slow down
    shorter ones.

    Args:
        lengths: tokens of each question, in the order of arrival; not empty.
        budget: tokens of one forward; the oldest question alone may exceed it.
    """
    tokens = count = 0
    for length in lengths:
        tokens += length
        if count and tokens > budget:
            break
        count += 1
    return count
