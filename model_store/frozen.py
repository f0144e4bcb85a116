"""The base of every stored or configured record (immutable, validated, unknown fields rejected), and shared ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic_core import ErrorDetails

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]

_SHOWN_CHARACTERS = 80


class Frozen(BaseModel):
    """A validated, immutable record whose JSON round trip is lossless."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        ser_json_inf_nan="strings",
        json_schema_serialization_defaults_required=True,  # a written record has every field
        protected_namespaces=(),
    )


R = TypeVar("R", bound=Frozen)


def validate_strictly(kind: type[R], record: object) -> R:
    """Validate a record of JSON's types that a user wrote: `2.0`, `"2"` and `true` are no whole numbers.

    Raises:
        ValidationError: a field is missing, unknown, of another type or out of range.
    """
    return kind.model_validate_json(json.dumps(record), strict=True)


def complaints(
    error: ValidationError, *, show_values: bool = True, spell: Callable[[str], str] = lambda field: field
) -> list[str]:
    """Return what is wrong with a record: one `section.field: message (got value)` per invalid field.

    Args:
        show_values: whether to quote the rejected values; must be False if they may be secrets.
        spell: maps a field's name to the name that the user writes.
    """
    return [_complaint(item, show_values, spell) for item in error.errors(include_url=False)]


def _complaint(item: ErrorDetails, show_values: bool, spell: Callable[[str], str]) -> str:
    field = spell(".".join(map(str, item["loc"])))
    value: Any = item["input"]
    is_section = isinstance(value, Mapping | BaseModel) or item["type"] == "missing"
    got = f" (got {repr(value)[:_SHOWN_CHARACTERS]})" if show_values and not is_section else ""
    message = " ".join(item["msg"].splitlines())  # it may quote a value
    return f"{field}: {message}{got}" if field else f"{message}{got}"
