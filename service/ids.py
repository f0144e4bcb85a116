"""What the id of a prediction tells: UUIDs of version 7 begin with the milliseconds of their making."""

from __future__ import annotations

import uuid

_LOW_BITS = 80  # below the milliseconds: version, counter, variant and random bits
_LATEST = (1 << 48) - 1


def milliseconds_of(prediction_id: str) -> int | None:
    """Unix milliseconds at which the id was made; None where it is no UUID of version 7."""
    try:
        value = uuid.UUID(prediction_id)
    except ValueError:
        return None
    return value.int >> _LOW_BITS if value.version == 7 else None


def first_id(milliseconds: int) -> str:
    """The bound below which every id was made before that time, and no id after it."""
    return str(uuid.UUID(int=min(max(milliseconds, 0), _LATEST) << _LOW_BITS))
