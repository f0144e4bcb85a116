"""What goes over the wire about stored predictions and their labels."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from uq4ct.model_store.questions import LABELS
from uq4ct.service.ledger.records import Label, PredictionRecord, StoredPrediction
from uq4ct.service.schemas.predict import Body, LabelProbability, Probability, Problem, ShortText, Uncertainty

ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def _check_answer(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("answer", "must be the index or the label of an option")
    return value


# Which indices and labels there are depends on the prediction.
TrueOption = Annotated[
    int | str,
    PlainValidator(_check_answer),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[A-Z]$"}]}),
]


class FeedbackRequest(Body):
    """The true option of an earlier prediction."""

    prediction_id: str = Field(pattern=ID_PATTERN, description="as the prediction gave it")
    answer: TrueOption = Field(description="index or label of the true option")
    source: ShortText | None = Field(default=None, description="where the answer is known from")


class FeedbackResponse(Body):
    """A label that is in the ledger."""

    prediction_id: str
    result: Literal["accepted", "duplicate"] = Field(description="duplicate: the same label was there before")


class FeedbackBatchRequest(Body):
    """Several labels; each is taken or refused by itself."""

    feedback: list[Any] = Field(
        json_schema_extra={"minItems": 1, "items": {"$ref": "#/components/schemas/FeedbackRequest"}}
    )


class FeedbackBatchResponse(Body):
    """One result or problem for each label, in their order."""

    results: list[FeedbackResponse | Problem]


class OptionPosition(Body):
    """One of the options, whose text may not be stored."""

    index: int = Field(ge=0)
    label: str = Field(description="letter of that position, from A")

    @classmethod
    def at(cls, index: int) -> OptionPosition:
        """The option at an index."""
        return cls(index=index, label=LABELS[index])


class StoredLabel(Body):
    """The true option, as it was told."""

    option: OptionPosition
    correct: bool = Field(description="it is the option that was chosen")
    source: str | None
    labelled_at: datetime.datetime

    @classmethod
    def from_label(cls, label: Label) -> StoredLabel:
        """Show a label."""
        return cls(
            option=OptionPosition.at(label.answer),
            correct=label.correct,
            source=label.source,
            labelled_at=show_time(label.labelled_ms),
        )


class PredictionView(Body):
    """A prediction as it was served, and its label if it has come."""

    prediction_id: str
    created_at: datetime.datetime
    model: str = Field(description="name@version of the adapter that answered")
    adapter_digest: str
    method: str
    task: str
    option: OptionPosition
    confidence: Probability
    probabilities: list[LabelProbability]
    feu: float | None
    uncertainty: Uncertainty
    abstain: bool
    abstain_reason: str | None
    threshold: Probability | None
    prediction_set: list[str] | None
    coverage: Probability | None
    tags: list[str]
    question: dict[str, Any] | None = Field(description="text, options and context, where questions are stored")
    label: StoredLabel | None

    @classmethod
    def from_stored(cls, stored: StoredPrediction) -> PredictionView:
        """Show a stored prediction."""
        record = stored.record
        return cls(
            prediction_id=record.prediction_id,
            created_at=show_time(record.created_ms),
            model=f"{record.model}@{record.version}",
            adapter_digest=record.adapter_digest,
            method=record.method,
            task=record.task,
            option=OptionPosition.at(record.option),
            confidence=record.confidence,
            probabilities=show_probabilities(record.probabilities),
            feu=record.feu,
            uncertainty=show_uncertainty(record),
            abstain=record.abstain,
            abstain_reason=record.abstain_reason,
            threshold=record.threshold,
            prediction_set=None if record.prediction_set is None else list(record.prediction_set),
            coverage=record.coverage,
            tags=list(record.tags),
            question=record.question,
            label=None if stored.label is None else StoredLabel.from_label(stored.label),
        )


def show_probabilities(probabilities: tuple[float, ...]) -> list[LabelProbability]:
    """Each probability with its label."""
    return [LabelProbability(label=label, probability=p) for label, p in zip(LABELS, probabilities, strict=False)]


def show_uncertainty(record: PredictionRecord) -> Uncertainty:
    """The entropies and the error score of a record."""
    return Uncertainty(
        total=record.total,
        aleatoric=record.aleatoric,
        epistemic=record.epistemic,
        error_score=record.error_score,
    )


def show_time(milliseconds: int) -> datetime.datetime:
    """The time of Unix milliseconds."""
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
