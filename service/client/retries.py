"""When the client retries, and how long it waits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx2

from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.values import read_whole, unwrap

RETRIED_STATUSES = (429, 503)
RETRIED_PROBLEMS = (*RETRIED_STATUSES, 504)  # of one question of a batch, which others have delayed
RETRIED_ERRORS = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ProxyError)
_SPREAD = 0.25  # largest random extra wait, as a share, so that rejected clients do not return at the same time
_MOST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Retries:
    """Total number of attempts, and the waits between them in seconds, doubling from `first_wait` to `longest_wait`.

    Raises:
        InvalidArgumentError: attempts is not 1 to 100, or not 0 < first_wait <= longest_wait < infinity.
    """

    attempts: int = 4
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "attempts", read_whole("attempts", self.attempts, 1, _MOST_ATTEMPTS))
        waits = [unwrap(wait) for wait in (self.first_wait, self.longest_wait)]
        numbers = [wait for wait in waits if isinstance(wait, int | float)]
        if len(numbers) < len(waits) or not 0 < numbers[0] <= numbers[1] < math.inf:
            raise InvalidArgumentError(
                "first_wait, longest_wait: must be finite seconds, 0 < first_wait <= longest_wait "
                f"(got {self.first_wait!r} and {self.longest_wait!r})"
            )
        for name, wait in zip(("first_wait", "longest_wait"), numbers, strict=True):
            object.__setattr__(self, name, wait)

    def wait_after(self, attempt: int, retry_after: float | None, chance: float) -> float | None:
        """Return the seconds to wait after attempt number `attempt` (from 1) failed; None: give up.

        The wait is never shorter than the service asks for. If it asks for more than `longest_wait`, the client gives
        up: an earlier attempt would be rejected again.

        Args:
            retry_after: the seconds that the service asks for, if any.
            chance: a random number in [0, 1).
        """
        asked = retry_after or 0.0
        if attempt >= self.attempts or asked > self.longest_wait:
            return None
        doubled = min(self.first_wait * 2.0 ** (attempt - 1), self.longest_wait)
        return max(doubled, asked) * (1 + _SPREAD * chance)


DEFAULT_RETRIES = Retries()


def read_retry_after(response: httpx2.Response, now: float) -> float | None:
    """Return the seconds to wait from a Retry-After header with seconds or a date; None if it has neither.

    Args:
        now: the current time in seconds since 1970.
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
