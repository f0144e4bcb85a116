"""The responses of the service as the client reads them; unknown fields are ignored. Must not import torch."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import Field

from uq4ct.service.client.record import Record
from uq4ct.service.client.showing import html_table, join_first


class OptionPosition(Record):
    """One of the options by position; `label` is its letter, from A. Its text may not be stored."""

    index: int
    label: str


class Option(OptionPosition):
    """The chosen option."""

    text: str


class LabelProbability(Record):
    """The probability of one option."""

    label: str
    probability: float


class Uncertainty(Record):
    """Entropies in nats; the two parts are None if a single pass cannot separate them.

    `error_score` is specific to the method, high = likely wrong; None if the method has none.
    """

    total: float
    aleatoric: float | None
    epistemic: float | None
    error_score: float | None


class AnswerRecord(Record):
    """The fields of an answer, both in the response and when it is looked up later."""

    prediction_id: str
    model: str
    method: str
    option: OptionPosition
    confidence: float
    probabilities: list[LabelProbability]
    feu: float | None
    uncertainty: Uncertainty
    abstain: bool
    abstain_reason: Literal["below_threshold", "set_too_large"] | None
    threshold: float | None
    prediction_set: list[str] | None
    coverage: float | None


class Prediction(AnswerRecord):
    """An answer with its confidence; if `abstain` is true, do not act on it."""

    option: Option  # pyright: ignore[reportIncompatibleVariableOverride]  # records are frozen

    def _summary(self) -> str:
        return (
            f"{self.option.label} {self.option.text!r}, confidence {self.confidence:.4f}, abstain={self.abstain}, "
            f"model={self.model!r}, prediction_id={self.prediction_id!r}"
        )

    def _repr_html_(self) -> str:
        """The probabilities, for a notebook."""
        chosen = self.option.label
        rows = [
            (one.label, f"{one.probability:.4f}", self.option.text if one.label == chosen else "")
            for one in self.probabilities
        ]
        caption = f"{self.model}: {chosen} {self.option.text}, confidence {self.confidence:.4f}"
        if self.abstain:
            caption += f", abstains ({self.abstain_reason})"
        return html_table(caption, ("option", "probability", "answer"), rows)


class FieldError(Record):
    """What is wrong with one field of the request."""

    field: str
    message: str


class Problem(Record):
    """A problem document (RFC 9457): why a request failed."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] = Field(default=[])
    tokens: int | None = None
    characters: int | None = None
    limit: int | None = None


class Base(Record):
    """The base model of an adapter."""

    name: str
    revision: str | None
    digest: str


class ModelSummary(Record):
    """A registered adapter in a list; `scores` has the fields of its manifest.

    An answer averages `samples` sets of logits and costs as much as `passes` rows of a forward pass.
    """

    name: str
    version: int
    aliases: list[str]
    loaded: bool
    ready: bool
    default: bool
    method: str
    digest: str
    base: Base
    samples: int
    passes: int
    scores: dict[str, Any]

    @property
    def reference(self) -> str:
        """The name and version with which a question asks for it."""
        return f"{self.name}@{self.version}"

    def _summary(self) -> str:
        states = [name for name in ("loaded", "ready", "default") if getattr(self, name)]
        return ", ".join([self.reference, self.method, *states, *(f"@{alias}" for alias in self.aliases)])


class ModelCard(ModelSummary):
    """A registered adapter; posterior, scores, calibration and decisions have the fields of its manifest."""

    posterior: dict[str, Any]
    scores_before: dict[str, Any] | None
    scores_untrained: dict[str, Any] | None
    calibration: dict[str, Any]
    reference_histograms: dict[str, Any]
    decisions: dict[str, Any]
    batch_company: dict[str, Any]


class DamagedModel(Record):
    """A registered adapter whose record cannot be read; `version` is None if no version of the name can be read."""

    name: str
    version: int | None
    aliases: list[str]
    error: str


class ModelList(Record):
    """The model store, or a page of it if `next` is not None."""

    models: list[ModelSummary]
    damaged: list[DamagedModel]
    next: str | None

    def _summary(self) -> str:
        names = join_first([model.reference for model in self.models], ", ")
        return f"{len(self.models)} models: {names}" + (f"; {len(self.damaged)} damaged" if self.damaged else "")

    def _repr_html_(self) -> str:
        """The models, for a notebook."""
        header = ("model", "aliases", "method", "base", "loaded", "default", "error")
        rows = [
            (one.reference, ", ".join(one.aliases), one.method, one.base.name, one.loaded, one.default, "")
            for one in self.models
        ]
        broken = [(one.name, ", ".join(one.aliases), "", "", False, False, one.error) for one in self.damaged]
        return html_table(f"{len(rows)} models", header, [*rows, *broken])


class FeedbackReceipt(Record):
    """Confirmation that a label is in the ledger; duplicate: it was already stored."""

    prediction_id: str
    result: Literal["accepted", "duplicate"]


class StoredLabel(Record):
    """The correct option, as reported."""

    option: OptionPosition
    correct: bool
    source: str | None
    labelled_at: datetime.datetime


class StoredPrediction(AnswerRecord):
    """A prediction as it was served, and its label, if any."""

    created_at: datetime.datetime
    tenant: str
    adapter_digest: str
    task: str
    tags: list[str]
    question: dict[str, Any] | None
    label: StoredLabel | None


class PredictionPage(Record):
    """A page of stored predictions, the newest first; it may be empty although `next` is set."""

    since: datetime.datetime
    until: datetime.datetime
    predictions: list[StoredPrediction]
    next: str | None
