"""Request and response bodies about questions and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Self

from pydantic import Field

from uq4ct.model_store.decisions import AbstainReason
from uq4ct.model_store.questions import LABELS, MAX_OPTIONS, MIN_OPTIONS
from uq4ct.service.records import PredictionRecord
from uq4ct.service.schemas.common import REFERENCE_PATTERN, Body, Probability, Problem, ShortText

Nats = Annotated[float, Field(ge=0)]

# Fields with which a request overrides the adapter's own decisions, in every protocol.
AbstainBelow = Annotated[
    Probability | None,
    Field(
        strict=True,
        description="abstain below this confidence, 0 to 1; null = the adapter's published threshold",
    ),
]
Coverage = Annotated[
    Probability | None,
    Field(
        strict=True,
        description="coverage of the prediction set, 0 to 1; null = the adapter's published coverage",
    ),
]
Task = Annotated[
    ShortText | None, Field(description="one of the configured TASKS; other values are counted as `other`")
]


class PredictRequest(Body):
    """One multiple-choice question."""

    # Lengths and uniqueness are only declared here; `Question` enforces them, so that the rules exist once.
    question: str = Field(description="the text of the question, not empty", json_schema_extra={"minLength": 1})
    options: list[str] = Field(
        fail_fast=True,  # one error for a list of a million numbers is enough
        description="texts of which none is empty and no two look alike",
        json_schema_extra={
            "minItems": MIN_OPTIONS,
            "maxItems": MAX_OPTIONS,
            "uniqueItems": True,
            "items": {"type": "string", "minLength": 1},
        },
    )
    context: str | None = Field(default=None, description="a passage that the question is about")
    model: str | None = Field(
        default=None,
        pattern=REFERENCE_PATTERN,
        description="name (its production version) or name@version; null = the default",
    )
    abstain_below: AbstainBelow = None
    coverage: Coverage = None
    task: Task = None
    idempotency_key: str | None = Field(
        default=None,
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="repeating a request with the same key and body returns the first answer; needs the ledger",
    )
    tags: list[ShortText] = Field(default=[], max_length=8, description="stored with the prediction, otherwise unused")


class BatchRequest(Body):
    """Several questions; each is checked and answered independently."""

    questions: list[Any] = Field(
        json_schema_extra={"minItems": 1, "items": {"$ref": "#/components/schemas/PredictRequest"}}
    )


class OptionPosition(Body):
    """One of the options by position; its text may not be stored."""

    index: int = Field(ge=0, description="position among the options")
    label: str = Field(description="letter of the position, from A")

    @classmethod
    def at(cls, index: int) -> OptionPosition:
        """Return the option at an index."""
        return cls(index=index, label=LABELS[index])


class Option(OptionPosition):
    """The chosen option."""

    text: str


class LabelProbability(Body):
    """The probability of one option."""

    label: str
    probability: Probability


class Uncertainty(Body):
    """Entropies in nats and a method-specific error score; parts are null if a single pass cannot separate them."""

    total: Nats = Field(description="entropy of the mean of the samples")
    aleatoric: Nats | None = Field(description="mean of the entropies of the samples")
    epistemic: Nats | None = Field(description="mutual information of option and sample")
    error_score: float | None = Field(
        description="high = likely wrong; adue: a probability of error; mahalanobis: a squared distance; others: null"
    )


class AnswerBody(Body):
    """The fields of an answer, both in the response and when it is looked up later."""

    prediction_id: str = Field(description="UUID of version 7, ordered by time")
    model: str = Field(description="name@version of the adapter that answered")
    method: str
    option: OptionPosition
    confidence: Probability = Field(description="probability of the chosen option")
    probabilities: list[LabelProbability] = Field(description="in the order of the options; they sum to 1")
    feu: float | None = Field(
        description="functional uncertainty: share of routing mass on the chosen experts; high = the routers are "
        "confident; null for methods without routers"
    )
    uncertainty: Uncertainty
    abstain: bool = Field(description="true: do not act on this answer")
    abstain_reason: AbstainReason | None = Field(
        description="below_threshold: the confidence is below the threshold; set_too_large: the prediction set is "
        "larger than allowed"
    )
    threshold: Probability | None = Field(description="confidence below which the model abstains; null if none is set")
    prediction_set: list[str] | None = Field(
        description="labels of the options that remain possible at this coverage; null if no sets were fitted"
    )
    coverage: Probability | None = Field(description="probability that such a set contains the right option")

    @classmethod
    def from_record(cls, record: PredictionRecord, **others: Any) -> Self:
        """Convert a record: copy the fields of the same name, derive the rest, and add `others`."""
        same = {field.name: getattr(record, field.name) for field in fields(record) if field.name in cls.model_fields}
        made = {
            "model": record.reference,
            "option": OptionPosition.at(record.option),
            "probabilities": [
                LabelProbability(label=label, probability=probability)
                for label, probability in zip(LABELS, record.probabilities, strict=False)
            ],
            "uncertainty": Uncertainty.model_validate(record, from_attributes=True),
        }
        return cls(**(same | made | others))


class PredictResponse(AnswerBody):
    """An answer with its confidence."""

    option: Option  # pyright: ignore[reportIncompatibleVariableOverride]  # bodies are frozen

    @classmethod
    def from_answer(cls, record: PredictionRecord, options: Sequence[str]) -> PredictResponse:
        """Convert an answer, adding the text of the chosen option from the question's `options`."""
        index = record.option
        return cls.from_record(record, option=Option(index=index, label=LABELS[index], text=options[index]))


class BatchResponse(Body):
    """One answer or problem per question, in the same order."""

    results: list[PredictResponse | Problem]
