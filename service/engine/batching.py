"""Which of the waiting questions go into the next forward, from their lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable

_STEPS_BACK = 100  # forwards that fit in memory until a budget that was lowered to nothing is whole again


class TokenBudget:
    """Tokens of one forward: as configured, lower after one did not fit in memory, then slowly more."""

    def __init__(self, configured: int) -> None:
        self.configured = configured
        self.tokens = configured

    def lower(self, tokens: int) -> None:
        """Half of what did not fit."""
        self.tokens = max(1, min(self.tokens, tokens // 2))

    def raise_again(self) -> None:
        """One step back to the configured number, for a forward that did fit."""
        self.tokens = min(self.configured, self.tokens + math.ceil(self.configured / _STEPS_BACK))


def count_fitting(lengths: Iterable[int], budget: int) -> int:
    """How many of the waiting questions, oldest first, go into the next forward: as many as fit, at least one.

    Nothing is sorted or held back: a forward has no pads, so that its company costs a question nothing.

    Args:
        lengths: tokens of each, in the order of arrival; not empty.
        budget: tokens of one forward; the oldest question alone may be over it.
    """
    tokens = count = 0
    for length in lengths:
        tokens += length
        if count and tokens > budget:
            break
        count += 1
    return count
