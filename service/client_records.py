"""What the service answers, as its client reads it: fields that a newer service adds are ignored. No torch in here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable part of a response."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class Option(Record):
    """The chosen option; `label` is the letter of its position, from A."""

    index: int
    label: str
    text: str


class LabelProbability(Record):
    """The probability of one option."""

    label: str
    probability: float


class Uncertainty(Record):
    """Entropies in nats; the two parts are None where one pass cannot tell them apart."""

    total: float
    aleatoric: float | None
    epistemic: float | None


class Prediction(Record):
    """An answer and how sure it is; `abstain` says not to act on it."""

    prediction_id: str
    model: str
    method: str
    option: Option
    confidence: float
    probabilities: list[LabelProbability]
    feu: float | None
    uncertainty: Uncertainty
    abstain: bool = False
    abstain_reason: str | None = None
    threshold: float | None = None
    prediction_set: list[str] | None = None
    coverage: float | None = None


class FieldError(Record):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(Record):
    """A problem document (RFC 9457): why there is no answer."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] = []
    tokens: int | None = None
    limit: int | None = None


class Base(Record):
    """The base model that an adapter stands on."""

    name: str
    revision: str | None
    digest: str


class ModelCard(Record):
    """A registered adapter; scores and calibration have the fields of its manifest."""

    name: str
    version: int
    aliases: list[str]
    loaded: bool
    ready: bool
    default: bool
    method: str
    digest: str
    base: Base
    scores: dict[str, Any]
    scores_before: dict[str, Any] | None
    scores_untrained: dict[str, Any] | None
    calibration: dict[str, Any]
    reference_histograms: dict[str, Any]
    batch_company: dict[str, Any]


class FeedbackReceipt(Record):
    """What became of a label: it is in the ledger, now or since before."""

    prediction_id: str


class PredictionRecord(Record):
    """An earlier prediction as it was served, and its label if it has come."""

    prediction_id: str


class Calibration(Record):
    """Live calibration of a window, for each model version."""
