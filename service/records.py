"""The record of an answer: the ledger stores it, and responses are built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.questions import LABELS
from uq4ct.model_store.uncertainty.bins import bin_of
from uq4ct.service.ids import milliseconds_of

if TYPE_CHECKING:  # the ledger's commands need no manifest
    from uq4ct.model_store.decisions import AbstainReason, Decision
    from uq4ct.model_store.storage.manifest import Manifest

_LISTS = ("probabilities", "prediction_set", "tags")


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRecord(Answer):
    """An answer as served: the fields of `Answer`, the tenant, the model version, the decision and the request.

    `options` is the number of options; `bin` is the bin of the confidence; `prediction_set` holds labels; `question`
    has the text, the options and the context if questions are stored.
    """

    prediction_id: str
    tenant: str
    key_hash: str | None
    model: str
    version: int
    adapter_digest: str
    method: str
    task: str
    options: int
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

    @classmethod
    def from_answer(cls, answer: Answer, decision: Decision, manifest: Manifest, **asked: Any) -> PredictionRecord:
        """Create the record of an answer by the adapter of `manifest`; `asked` has the fields that the request sets."""
        return cls(
            **{field.name: getattr(answer, field.name) for field in fields(Answer)},
            model=manifest.name,
            version=manifest.version,
            adapter_digest=manifest.adapter_digest,
            method=manifest.method,
            options=len(answer.probabilities),
            bin=bin_of(answer.confidence),
            abstain=decision.abstain,
            abstain_reason=decision.reason,
            threshold=decision.threshold,
            prediction_set=None if decision.options is None else tuple(LABELS[index] for index in decision.options),
            coverage=decision.coverage,
            **asked,
        )

    @property
    def reference(self) -> str:
        """name@version of the adapter that answered."""
        return f"{self.model}@{self.version}"

    @property
    def created_ms(self) -> int:
        """Unix milliseconds at which the answer was given."""
        made = milliseconds_of(self.prediction_id)
        if made is None:
            raise ValueError(f"prediction_id must be a version 7 UUID (got {self.prediction_id})")
        return made

    def to_row(self) -> dict[str, Any]:
        """Return the record as a row of the predictions table."""
        return {field: getattr(self, field) for field in _FIELDS} | {"created_ms": self.created_ms}

    @classmethod
    def from_row(cls, row: Mapping[Any, Any]) -> PredictionRecord:
        """Create a record from a row; JSON columns hold lists where the record has tuples."""
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
    """A prediction and its label; None if it has no label yet."""

    record: PredictionRecord
    label: Label | None
