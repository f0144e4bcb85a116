"""Request and response bodies about stored predictions and their labels."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from uq4ct.model_store.questions import LABELS
from uq4ct.service.ledger.listing import Page
from uq4ct.service.records import Label, StoredPrediction
from uq4ct.service.schemas.common import Body, Problem, ShortText, show_time
from uq4ct.service.schemas.predict import AnswerBody, OptionPosition

ID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def _check_answer(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and len(value) == 1 and value in LABELS:
        return value
    raise PydanticCustomError("answer", "must be the index or the letter of an option")


# Which of the indices and letters are valid depends on the prediction.
TrueOption = Annotated[
    int | str,
    PlainValidator(_check_answer),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[A-Z]$"}]}),
]


class FeedbackRequest(Body):
    """The correct option of an earlier prediction."""

    prediction_id: str = Field(pattern=ID_PATTERN, description="`prediction_id` of the answer")
    answer: TrueOption = Field(description="index or letter of the correct option")
    source: ShortText | None = Field(default=None, description="origin of the label")


class FeedbackResponse(Body):
    """Confirmation that a label is in the ledger."""

    prediction_id: str
    result: Literal["accepted", "duplicate"] = Field(description="duplicate: the same label was already stored")


class FeedbackBatchRequest(Body):
    """Several labels; each is accepted or rejected independently."""

    feedback: list[Any] = Field(
        json_schema_extra={"minItems": 1, "items": {"$ref": "#/components/schemas/FeedbackRequest"}}
    )


class FeedbackBatchResponse(Body):
    """One result or problem per label, in the same order."""

    results: list[FeedbackResponse | Problem]


class StoredLabel(Body):
    """The correct option, as reported."""

    option: OptionPosition
    correct: bool = Field(description="whether it is the chosen option")
    source: str | None
    labelled_at: datetime.datetime

    @classmethod
    def from_label(cls, label: Label) -> StoredLabel:
        """Convert a label."""
        return cls(
            option=OptionPosition.at(label.answer),
            correct=label.correct,
            source=label.source,
            labelled_at=show_time(label.labelled_ms),
        )


class PredictionView(AnswerBody):
    """A prediction as it was served, and its label, if any."""

    created_at: datetime.datetime
    tenant: str
    adapter_digest: str
    task: str
    tags: list[str]
    question: dict[str, Any] | None = Field(description="text, options and context; null if questions are not stored")
    label: StoredLabel | None

    @classmethod
    def from_stored(cls, stored: StoredPrediction) -> PredictionView:
        """Convert a stored prediction."""
        record = stored.record
        label = None if stored.label is None else StoredLabel.from_label(stored.label)
        return cls.from_record(record, created_at=show_time(record.created_ms), label=label)


class PredictionList(Body):
    """A page of stored predictions, the newest first."""

    since: datetime.datetime
    until: datetime.datetime
    predictions: list[PredictionView] = Field(
        description="at most `limit`; may be fewer, or none, although `next` is set: a page looks at a bounded number "
        "of predictions"
    )
    next: str | None = Field(description="`cursor` of the next page; null on the last one")

    @classmethod
    def from_page(cls, since_ms: int, until_ms: int, page: Page) -> PredictionList:
        """Convert a page; times are Unix milliseconds."""
        return cls(
            since=show_time(since_ms),
            until=show_time(until_ms),
            predictions=[PredictionView.from_stored(stored) for stored in page.predictions],
            next=page.next,
        )
