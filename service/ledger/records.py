"""What the ledger keeps: a prediction as it was served, and its label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from uq4ct.model_store.decisions import AbstainReason
from uq4ct.service.ledger.ids import milliseconds_of

_LISTS = ("probabilities", "prediction_set", "tags")


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """One prediction as it was served.

    `option` is the chosen one of `options` many; entropies are in nats; `bin` is that of the confidence;
    `question` has the text, the options and the context where questions are stored.
    """

    prediction_id: str
    tenant: str
    key_hash: str | None
    model: str
    version: int
    adapter_digest: str
    method: str
    task: str
    option: int
    options: int
    confidence: float
    probabilities: tuple[float, ...]
    feu: float | None
    total: float
    aleatoric: float | None
    epistemic: float | None
    error_score: float | None
    bin: int
    abstain: bool
    abstain_reason: AbstainReason | None
    threshold: float | None
    prediction_set: tuple[str, ...] | None
    coverage: float | None
    tags: tuple[str, ...]
    idempotency_key: str | None
    body_hash: str | None
    question: dict[str, Any] | None

    @property
    def created_ms(self) -> int:
        """Unix milliseconds of the answer."""
        made = milliseconds_of(self.prediction_id)
        if made is None:
            raise ValueError(f"{self.prediction_id} is no UUID of version 7")
        return made

    def to_row(self) -> dict[str, Any]:
        """The columns of the table of predictions."""
        return {field: getattr(self, field) for field in _FIELDS} | {"created_ms": self.created_ms}

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> PredictionRecord:
        """The record of a row; JSON has lists where the record has tuples."""
        values = {field: row[field] for field in _FIELDS}
        for field in _LISTS:
            values[field] = None if values[field] is None else tuple(values[field])
        return cls(**values)


_FIELDS = tuple(field.name for field in fields(PredictionRecord))


@dataclass(frozen=True, slots=True)
class Label:
    """The true option of a prediction."""

    answer: int
    correct: bool
    source: str | None
    labelled_ms: int


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction and its label, if it has come."""

    record: PredictionRecord
    label: Label | None
