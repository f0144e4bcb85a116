"""Ids of requests and predictions: unique across replicas, ordered by time."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from uq4ct.service.ids import LONGEST_LEAD_MS

_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_COUNTER_BITS = 12
_RANDOM_BITS = 62


class TimeOrderedIds:
    """UUIDs of version 7 (RFC 9562, section 5.7): milliseconds, a 12-bit counter (method 1 of 6.2), random bits.

    Ids increase even if the clock steps back by up to a second or the counter overflows within a millisecond. After a
    larger step back they follow the clock again: their time selects predictions for windows and for retention. The
    random bits keep them unique. For one thread only.
    """

    def __init__(self, clock: Callable[[], float], random_bits: Callable[[int], int]) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._last = -1  # milliseconds and counter of the last id, as one number

    def new(self) -> str:
        """Return the next id."""
        now_ms = int(self._clock() * 1000)
        # A counter that starts in the lower half of its range leaves room for more ids in the same millisecond.
        fresh = (now_ms << _COUNTER_BITS) + self._random_bits(_COUNTER_BITS - 1)
        following = self._last + 1
        is_ahead = (following >> _COUNTER_BITS) - now_ms > LONGEST_LEAD_MS
        self._last = fresh if is_ahead else max(fresh, following)
        milliseconds, counter = self._last >> _COUNTER_BITS, self._last & ((1 << _COUNTER_BITS) - 1)
        value = milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | self._random_bits(_RANDOM_BITS)
        return str(uuid.UUID(int=value))


def accept_request_id(given: str | None) -> str | None:
    """Return a client's request id if it is safe to log and return: 1 to 128 letters, digits, `.`, `_` or `-`."""
    return given if given is not None and _CLIENT_ID.fullmatch(given) else None
