"""What a forward costs beyond its tokens: how much there is to gain from filling it."""

from __future__ import annotations

_MEMORY = 0.98  # weight of what was known before, for each new forward
_LEAST = 32.0  # tokens: weights are read from memory once a forward, which costs as much as some tens of tokens
_MOST = 1e6  # tokens; more than any batch has


class ForwardCost:
    """A running least-squares line of the seconds of a forward against its tokens, padding included.

    Seconds that a busy machine adds to some of them bend the line; the bounds keep the choice of batches sane then.
    """

    def __init__(self) -> None:
        self._weight = self._tokens = self._seconds = self._squares = self._products = 0.0

    def observe(self, tokens: int, seconds: float) -> None:
        """Count a forward of so many tokens."""
        added = (1.0, tokens, seconds, tokens * tokens, tokens * seconds)
        sums = (self._weight, self._tokens, self._seconds, self._squares, self._products)
        self._weight, self._tokens, self._seconds, self._squares, self._products = (
            _MEMORY * known + new for known, new in zip(sums, added, strict=True)
        )

    @property
    def overhead_tokens(self) -> float:
        """What a forward costs whatever is in it, in tokens; where tokens seem to cost nothing, more than any batch."""
        spread = self._weight * self._squares - self._tokens**2
        if self._weight < 2 or spread <= 0:
            return _LEAST
        seconds_per_token = (self._weight * self._products - self._tokens * self._seconds) / spread
        if seconds_per_token <= 0:
            return _MOST
        overhead = (self._seconds / seconds_per_token - self._tokens) / self._weight
        return min(max(overhead, _LEAST), _MOST)
