"""Batches whose items are read and answered independently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from uq4ct.service.http.kinds import TOO_LARGE
from uq4ct.service.http.problems import ProblemError, field_errors, invalid_fields
from uq4ct.service.schemas.common import FieldError, Problem

B = TypeVar("B", bound=BaseModel)


def read_items(kind: type[B], items: Sequence[Any], field: str, limit: int, noun: str) -> list[B | ProblemError]:
    """Read each item of the list `field`; an invalid item becomes a problem.

    Raises:
        ProblemError: 422, the list is empty; 413, it has more than `limit` items.
    """
    if not items:
        raise invalid_fields([FieldError(field=field, message="is empty")])
    if len(items) > limit:
        raise ProblemError(TOO_LARGE, f"the batch has {len(items)} {noun} (limit: {limit})", limit=limit)
    return [_read_item(kind, item) for item in items]


def show_results(outcomes: Sequence[B | ProblemError], request_id: str) -> list[B | Problem]:
    """Return each outcome as it is sent to the client, in order."""
    return [item.document(request_id) if isinstance(item, ProblemError) else item for item in outcomes]


def _read_item(kind: type[B], item: Any) -> B | ProblemError:
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        return invalid_fields(field_errors(error.errors(include_url=False)))
