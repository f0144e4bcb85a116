"""Rows of a table: the question that a row asks, and the cells that its answer fills."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uq4ct.service.client.bodies import Item, read_question
from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.records import Prediction, Problem
from uq4ct.service.client.values import unwrap

# The columns of an answer, in order.
COLUMNS = ("predicted", "predicted_index", "confidence", "feu", "abstained", "prediction_id", "error")

Cells = tuple[str | None, int | None, float | None, float | None, bool | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Row:
    """What a row asks, or the error why it cannot be asked; `places` are those of its options in the table."""

    item: Item | None
    error: str | None
    places: tuple[int, ...]


def read_row(question: object, options: object, shared: Mapping[str, Any]) -> Row:
    """Return the row with these cells; a missing option is left out, and a missing question is an error of the row.

    The idempotency key is made from what the row asks, so that the same row is answered once.
    """
    if is_missing(question):
        return Row(None, "question: is missing", ())
    if is_missing(options):
        return Row(None, "options: is missing", ())
    listed = unwrap(options)
    given = listed if isinstance(listed, list | tuple) else [listed]
    places = tuple(place for place, option in enumerate(given) if not is_missing(option))
    texts = [given[place] for place in places] if given is listed else listed
    try:
        body = read_question({"question": question, "options": texts, **shared})
    except InvalidArgumentError as error:
        return Row(None, str(error), ())
    return Row(Item(body, _key_of(body)), None, places)


def fill_row(row: Row, result: Prediction | Problem | None) -> Cells:
    """Return the cells of a row: its answer, or why there is none; the index is that among the table's options."""
    if isinstance(result, Prediction):
        option = result.option
        place = row.places[option.index]
        return (option.text, place, result.confidence, result.feu, result.abstain, result.prediction_id, None)
    error = row.error if result is None else f"{result.status} {result.detail}"
    return (None, None, None, None, None, None, error)


def name_columns(name: str, prefix: str, columns: Sequence[str], others: Sequence[str] = ()) -> list[str]:
    """Return the names of the new columns; raises InvalidArgumentError if the table already has one of them."""
    names = [f"{prefix}{column}" for column in (*COLUMNS, *others)]
    taken = [one for one in names if one in columns]
    if taken:
        raise InvalidArgumentError(f"{name}: already has the column {taken[0]!r}; set prefix= for the new columns")
    return names


def check_columns(columns: Sequence[str], question: str, options: str | Sequence[str]) -> None:
    """Check that the table has each named column once; raises InvalidArgumentError."""
    named = [("options", options)] if isinstance(options, str) else [("options", one) for one in options]
    for argument, column in [("question", question), *named]:
        count = columns.count(column)
        if count != 1:
            problem = "no column" if count == 0 else "several columns"
            raise InvalidArgumentError(f"{argument}: {problem} {column!r} (columns: {', '.join(map(str, columns))})")


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN, NaT or NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and math.isnan(value)


def _key_of(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f"row-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
