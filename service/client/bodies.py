"""What the client sends about a question or a label, read from the caller's arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.values import read_items, show, to_json


class SharedOptions(TypedDict, total=False):
    """Optional fields that all questions of a table may share; see the service's /docs."""

    context: str
    model: str
    abstain_below: float
    coverage: float
    task: str
    tags: list[str]


class AskOptions(SharedOptions, total=False):
    """Optional fields of a question; see the service's /docs."""

    idempotency_key: str


class Ask(AskOptions):
    """One question of a batch."""

    question: str
    options: Iterable[str]


class Label(TypedDict):
    """The correct option of an earlier prediction, by index or letter; `source` is the origin of the label."""

    prediction_id: str
    answer: int | str
    source: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Item:
    """A body to send; `key` is an idempotency key of the client, left out if the ledger cannot store it."""

    body: dict[str, Any]
    key: str | None = None

    @property
    def keyed(self) -> dict[str, Any]:
        """The body with the key."""
        return self.body if self.key is None else {"idempotency_key": self.key, **self.body}


def read_question(question: Mapping[str, object], name: str = "") -> dict[str, Any]:
    """Return the body of a question; its text and the number of its options are for the service to judge.

    Args:
        name: where the question stands, such as `questions[2]`; empty: its fields are the call's own arguments.

    Raises:
        InvalidArgumentError: a field cannot be sent; the message names it.
    """
    fields = _read_fields(question, name, "a mapping with question and options")
    prefix = f"{name}." if name else ""
    options = read_items(f"{prefix}options", fields.get("options"), "texts")
    return {field: to_json(f"{prefix}{field}", value) for field, value in {**fields, "options": options}.items()}


def read_label(label: Mapping[str, object], name: str = "label") -> dict[str, Any]:
    """Return the body of a label; raises InvalidArgumentError, which names the field that cannot be sent."""
    fields = _read_fields(label, name, "a mapping with prediction_id and answer")
    return {field: to_json(f"{name}.{field}", value) for field, value in fields.items()}


def read_shared(shared: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields that all questions of a table share; raises InvalidArgumentError for any other field."""
    allowed = SharedOptions.__annotations__
    for name in shared:
        if name not in allowed:
            raise InvalidArgumentError(f"{name}: is no field that rows can share; allowed: {', '.join(allowed)}")
    return {name: to_json(name, value) for name, value in shared.items()}


def _read_fields(given: Mapping[str, object], name: str, kind: str) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise InvalidArgumentError(f"{name}: must be {kind} (got {show(given)})")
    return given
