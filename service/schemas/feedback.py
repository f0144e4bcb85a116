"""What goes over the wire about stored predictions and their labels."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from uq4ct.service.records import Label, StoredPrediction
from uq4ct.service.schemas.common import Body, Problem, ShortText, show_time
from uq4ct.service.schemas.predict import AnswerBody, OptionPosition

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


class PredictionView(AnswerBody):
    """A prediction as it was served, and its label if it has come."""

    created_at: datetime.datetime
    adapter_digest: str
    task: str
    tags: list[str]
    question: dict[str, Any] | None = Field(description="text, options and context, where questions are stored")
    label: StoredLabel | None

    @classmethod
    def from_stored(cls, stored: StoredPrediction) -> PredictionView:
        """Show a stored prediction."""
        record = stored.record
        label = None if stored.label is None else StoredLabel.from_label(stored.label)
        return cls.from_record(record, created_at=show_time(record.created_ms), label=label)
