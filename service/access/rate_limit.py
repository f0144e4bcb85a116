"""Limit the questions per key and minute: a token bucket per key, in integers to avoid rounding errors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_QUESTION = 60_000_000_000  # units that one question takes from a bucket; a bucket gains `limit` units per nanosecond
_SECOND_NS = 1_000_000_000
_MOST_BUCKETS = 10_000


class RateLimitedError(RuntimeError):
    """A key exceeded its limit; the same request fits after `retry_after` seconds without other requests."""

    def __init__(self, limit: int, retry_after: int) -> None:
        super().__init__(f"rate limit of the key exceeded (limit: {limit} questions per minute)")
        self.limit = limit
        self.retry_after = retry_after


class RateLimiter:
    """One bucket per key, which holds the questions of one minute. For the event loop's thread only."""

    def __init__(
        self, questions_per_minute: int, monotonic_ns: Callable[[], int], most_buckets: int = _MOST_BUCKETS
    ) -> None:
        self._limit = questions_per_minute
        self._now = monotonic_ns
        self._most_buckets = most_buckets
        self._buckets: OrderedDict[str | None, tuple[int, int]] = (
            OrderedDict()
        )  # level and its time; least recent use first

    def take(self, key_id: str | None, questions: int, put_back: int = 0) -> None:
        """Take all `questions` or none, after putting back `put_back` that the same request took before.

        Raises:
            RateLimitedError: fewer than `questions` are left.
        """
        now = self._now()
        full = self._limit * _QUESTION
        level, since = self._buckets.pop(key_id, (full, now))
        level = min(level + (now - since) * self._limit + put_back * _QUESTION, full)
        missing = questions * _QUESTION - level
        self._buckets[key_id] = (level if missing > 0 else -missing, now)
        while len(self._buckets) > self._most_buckets:
            self._buckets.popitem(last=False)  # already full, unless this many keys were used within a minute
        if missing > 0:
            raise RateLimitedError(self._limit, -(-missing // (self._limit * _SECOND_NS)))
