"""Who asks: the caller of a request and what it may do."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass


class Scope(enum.StrEnum):
    """What a caller may do; `admin` may do everything."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key_id` is the public id of the key, None where requests need none."""

    key_id: str | None
    tenant: str
    scopes: frozenset[Scope]


ANYBODY = Caller(None, "default", frozenset(Scope))


def require(scope: Scope) -> Callable[[], Caller]:  # noqa: ARG001  # as long as requests need no key
    """A dependency that yields the caller, who has the scope."""
    return lambda: ANYBODY
