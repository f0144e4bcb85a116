"""When the client tries again, and how long it waits before."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx2

RETRIED_STATUSES = (429, 503)
RETRIED_ERRORS = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
_SPREAD = 0.25  # share of a wait that chance adds, so that refused clients do not come back together
_MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is tried in all, and the seconds between: doubling from `first_wait` up to `longest_wait`.

    Raises:
        ValueError: attempts are not 1 to 100, or the waits are not finite, positive and in order.
    """

    attempts: int = 4
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"attempts must be 1 to {_MOST_ATTEMPTS}, not {self.attempts}")
        if not 0 < self.first_wait <= self.longest_wait < math.inf:
            raise ValueError(f"waits must be 0 < first <= longest, not {self.first_wait} and {self.longest_wait}")

    def wait_after(self, attempt: int, retry_after: float | None, chance: float) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) failed; None gives up.

        The wait is never shorter than the service asks for. If it asks for more than `longest_wait`, an earlier
        try would only be refused again, so there is none.

        Args:
            retry_after: the seconds that the service asks for, if it does.
            chance: a random number in [0, 1).
        """
        asked = retry_after or 0.0
        if attempt >= self.attempts or asked > self.longest_wait:
            return None
        doubled = min(self.first_wait * 2.0 ** (attempt - 1), self.longest_wait)
        return max(doubled, asked) * (1 + _SPREAD * chance)


def read_retry_after(response: httpx2.Response, now: float) -> float | None:
    """The seconds that a response asks to wait, given as seconds or as a date; None where it asks for nothing.

    Args:
        now: the time, in seconds since 1970.
    """
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(at.timestamp() - now, 0.0)
