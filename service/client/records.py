"""The responses of the service as the client reads them; unknown fields are ignored. Must not import torch."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable part of a response."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


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
    errors: list[FieldError] = []
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
    adapter_digest: str
    task: str
    tags: list[str]
    question: dict[str, Any] | None
    label: StoredLabel | None


class Interval(Record):
    """A closed interval."""

    low: float
    high: float


class CalibrationBin(Record):
    """The predictions whose confidence is in [low, high); `accuracy_interval` is a 95 % Wilson score interval."""

    low: float
    high: float
    predictions: int
    labelled: int
    mean_confidence: float | None
    accuracy: float | None
    accuracy_interval: Interval | None


class NoiseFloor(Record):
    """Expected calibration error that a perfectly calibrated model with these confidences would show."""

    mean: float
    p95: float


class CurvePoint(Record):
    """The effect of abstaining below a threshold; the risk is the share of errors among the answered questions."""

    threshold: float
    coverage: float
    answered: int
    selective_risk: float | None


class LabelledScores(Record):
    """Calibration of one model version, measured with labels; a positive gap is overconfidence."""

    questions: int
    accuracy: float
    mean_confidence: float
    signed_gap: float
    gap_z: float | None
    spiegelhalter_z: float | None
    top_label_brier: float
    ece: float
    ece_noise_floor: NoiseFloor
    rms_calibration_error: float
    rms_calibration_error_interval: Interval
    selective_risk: float | None
    bins: list[CalibrationBin]
    curve: list[CurvePoint]


class LabelDelay(Record):
    """Time from answers to their labels, in seconds."""

    median_seconds: float
    p90_seconds: float


class ReferenceAbstention(Record):
    """How often the version abstained before serving."""

    threshold: float | None
    share: float | None


class Reference(Record):
    """Results of the version on its calibration split, from its manifest."""

    questions: int
    accuracy: float
    ece: float
    confidence_shares: list[float] | None
    feu_shares: list[float] | None
    abstention: ReferenceAbstention | None
    curve: list[CurvePoint] | None


class SequentialTest(Record):
    """One sequential test of a version over its whole life, valid however often you look; alarms are never reset."""

    test: Literal["overconfident", "underconfident", "error_rate"]
    log_evidence: float
    alarm: bool
    alarmed_at: datetime.datetime | None
    labels: int
    since: datetime.datetime


class Alarm(Record):
    """The alarm of a sequential test of one version."""

    model: str
    test: Literal["overconfident", "underconfident", "error_rate"]
    alarmed_at: datetime.datetime
    labels: int


class Verdict(Record):
    """One verdict about a version from its calibration error, z values, alarms and number of labels."""

    state: Literal["too_few_labels", "no_evidence", "overconfident", "underconfident", "miscalibrated", "more_errors"]
    reasons: list[
        Literal["overconfident_alarm", "underconfident_alarm", "error_rate_alarm", "ece", "gap_z", "spiegelhalter_z"]
    ]


class CalibrationCohort(Record):
    """The predictions of one model version in the window; shares are of all of them, in equal bins of [0, 1]."""

    model: str
    verdict: Verdict
    predictions: int
    mean_confidence: float
    coverage: float
    label_share: float
    label_delay: LabelDelay | None
    confidence_shares: list[float]
    feu_shares: list[float] | None
    reference: Reference | None
    labelled: LabelledScores | None
    sequential: list[SequentialTest]


class Calibration(Record):
    """Live calibration of the predictions made in a window, regardless of when their labels arrived."""

    since: datetime.datetime
    until: datetime.datetime
    counted_limit: int
    scored_limit: int
    alarms: list[Alarm]
    models: list[CalibrationCohort]
