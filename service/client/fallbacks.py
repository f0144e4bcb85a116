"""Answers to act on: the service's, or those of a fallback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from uq4ct.service.client.errors import ClientError
from uq4ct.service.client.records import Prediction

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Declined:
    """Why the service's answer cannot be used: it abstained, or it did not answer."""

    reason: Literal["abstained", "unavailable"]
    prediction: Prediction | None
    error: ClientError | None


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer to act on: the text of the service's option, or the return value of the fallback.

    `declined` says why the fallback was called; None if the service answered.
    """

    answer: str | T
    prediction: Prediction | None
    declined: Declined | None

    @property
    def by(self) -> Literal["service", "fallback"]:
        """Who answered."""
        return "service" if self.declined is None else "fallback"


Fallback = Callable[[Declined], T]
AsyncFallback = Callable[[Declined], T | Awaitable[T]]
