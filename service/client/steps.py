"""The steps of a call: a call yields each step and receives its outcome from the client that runs it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2

from uq4ct.service.client.fallbacks import Declined

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request; the outcome is the response or the error without one."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    params: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait this number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class CallFallback:
    """Call the fallback; the outcome is its return value."""

    fallback: Callable[[Declined], Any]
    declined: Declined


Outcome = httpx2.Response | httpx2.RequestError
Steps = Generator[Send | Wait | CallFallback, Any, T]
