"""The base of every stored or configured record (immutable, validated, unknown fields rejected), and shared ranges."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from pydantic_core import ErrorDetails

from uq4ct.model_store.unknown_keys import suggest_keys, written_place

Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
NonNegative = Annotated[FiniteFloat, Field(ge=0)]

_SHOWN_CHARACTERS = 80


class Frozen(BaseModel):
    """A validated, immutable record whose JSON round trip is lossless."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, ser_json_inf_nan="strings", protected_namespaces=()
    )


R = TypeVar("R", bound=Frozen)


def validate_strictly(kind: type[R], record: object) -> R:
    """Validate a record of JSON's types that a user wrote: `2.0`, `"2"` and `true` are no whole numbers.

    Raises:
        ValidationError: a field is missing, unknown, of another type or out of range.
    """
    return kind.model_validate_json(json.dumps(record), strict=True)


def complaints(
    error: ValidationError,
    *,
    kind: type[BaseModel] | None = None,
    show_values: bool = True,
    spell: Callable[[str], str] = lambda field: field,
) -> list[str]:
    """Return what is wrong with a record: one `section.field: message (got value)` per invalid field.

    Args:
        kind: the type of a record that a person wrote; unknown keys are then compared with its keys.
        show_values: whether to quote the rejected values; must be False if they may be secrets.
        spell: maps a field's name to the name that the user writes.
    """
    return [text for _, text in placed_complaints(error, kind=kind, show_values=show_values, spell=spell)]


def placed_complaints(
    error: ValidationError,
    *,
    kind: type[BaseModel] | None = None,
    show_values: bool = True,
    spell: Callable[[str], str] = lambda field: field,
) -> list[tuple[str, str]]:
    """Return the field of each complaint, empty for the whole record, with the complaint; as `complaints`."""
    return [_complaint(item, kind, show_values, spell) for item in error.errors(include_url=False)]


def _complaint(
    item: ErrorDetails, kind: type[BaseModel] | None, show_values: bool, spell: Callable[[str], str]
) -> tuple[str, str]:
    place, message = item["loc"], " ".join(item["msg"].splitlines())  # it may quote a value
    value: Any = item["input"]
    is_section = isinstance(value, Mapping | BaseModel) or item["type"] == "missing"
    got = f" (got {repr(value)[:_SHOWN_CHARACTERS]})" if show_values and not is_section else ""
    message = f"{message.removeprefix('Value error, ')}{got}"
    if kind is not None and item["type"] == "extra_forbidden":
        *section, key = place
        message = f"unknown key{got}, {suggest_keys(kind, tuple(section), str(key))}"
        place = (*written_place(kind, tuple(section)), key)
    elif kind is not None:
        place = written_place(kind, place)
    field = ".".join(map(str, place))
    return field, f"{spell(field)}: {message}" if spell(field) else message
