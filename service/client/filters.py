"""What the client asks for when it lists predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.values import check_text, read_number, show


class PredictionFilters(TypedDict, total=False):
    """Which predictions to list; `correct` selects labelled ones only, `window` is such as 24h."""

    window: str
    model: str
    tenant: str
    task: str
    confidence_from: float
    confidence_to: float
    abstain: bool
    labelled: bool
    correct: bool


_NUMBERS = ("confidence_from", "confidence_to")
_FLAGS = ("abstain", "labelled", "correct")


def read_filters(filters: Mapping[str, object]) -> dict[str, str]:
    """Return the query parameters; raises InvalidArgumentError, which names the filter that is wrong."""
    allowed = PredictionFilters.__annotations__
    for name in filters:
        if name not in allowed:
            raise InvalidArgumentError(f"{name}: is no filter; allowed: {', '.join(allowed)}")
    return {name: _as_parameter(name, value) for name, value in filters.items() if value is not None}


def _as_parameter(name: str, value: object) -> str:
    if name in _NUMBERS:
        return str(read_number(name, value, "a number from 0 to 1", 0.0, 1.0))
    if name not in _FLAGS:
        return check_text(name, value)
    if not isinstance(value, bool):
        raise InvalidArgumentError(f"{name}: must be True or False (got {show(value)})")
    return "true" if value else "false"
