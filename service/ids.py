"""The time in the id of a prediction: a version 7 UUID starts with the milliseconds of its creation."""

from __future__ import annotations

import uuid

LONGEST_LEAD_MS = 1000  # how far the time in an id may be ahead of the clock, so that ids rise when it steps back
_LOW_BITS = 80  # below the milliseconds: version, counter, variant and random bits
_LATEST = (1 << 48) - 1


def milliseconds_of(prediction_id: str) -> int | None:
    """Return the Unix milliseconds at which the id was created; None if it is not a version 7 UUID."""
    try:
        value = uuid.UUID(prediction_id)
    except ValueError:
        return None
    return value.int >> _LOW_BITS if value.version == 7 else None


def first_id(milliseconds: int) -> str:
    """Return the smallest id of that Unix millisecond: earlier ids are smaller, later ones are not."""
    return str(uuid.UUID(int=min(max(milliseconds, 0), _LATEST) << _LOW_BITS))


def last_id(milliseconds: int) -> str:
    """Return the largest id of that Unix millisecond: later ids are larger, earlier ones are not."""
    return str(uuid.UUID(int=(min(max(milliseconds, 0), _LATEST) + 1 << _LOW_BITS) - 1))
