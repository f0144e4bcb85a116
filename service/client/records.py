"""What the service answers, as its client reads it: fields that a newer service adds are ignored. No torch in here."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """An immutable part of a response."""

    model_config = ConfigDict(extra="ignore", frozen=True, protected_namespaces=())


class OptionPosition(Record):
    """One of the options, whose text may not be stored; `label` is the letter of its position, from A."""

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
    """Entropies in nats, the two parts None where one pass cannot tell them apart.

    `error_score` is the method's own, high = likely wrong; None where it has none.
    """

    total: float
    aleatoric: float | None
    epistemic: float | None
    error_score: float | None


class AnswerRecord(Record):
    """What is told of an answer, both when it is given and when it is looked up later."""

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
    """An answer and how sure it is; `abstain` says not to act on it."""

    option: Option  # pyright: ignore[reportIncompatibleVariableOverride]  # records are frozen


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
    """A registered adapter; posterior, scores, calibration and decisions have the fields of its manifest.

    An answer is averaged over `samples` sets of logits; it costs as much as `passes` rows of a forward.
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
    posterior: dict[str, Any]
    samples: int
    passes: int
    scores: dict[str, Any]
    scores_before: dict[str, Any] | None
    scores_untrained: dict[str, Any] | None
    calibration: dict[str, Any]
    reference_histograms: dict[str, Any]
    decisions: dict[str, Any]
    batch_company: dict[str, Any]


class DamagedModel(Record):
    """A registered adapter whose record cannot be read."""

    name: str
    version: int
    aliases: list[str]
    error: str


class ModelList(Record):
    """Everything in the model store."""

    models: list[ModelCard]
    damaged: list[DamagedModel]


class FeedbackReceipt(Record):
    """A label that is in the ledger; a duplicate was there before."""

    prediction_id: str
    result: Literal["accepted", "duplicate"]


class StoredLabel(Record):
    """The true option, as it was told."""

    option: OptionPosition
    correct: bool
    source: str | None
    labelled_at: datetime.datetime


class StoredPrediction(AnswerRecord):
    """An earlier prediction as it was served, and its label if it has come."""

    created_at: datetime.datetime
    adapter_digest: str
    task: str
    tags: list[str]
    question: dict[str, Any] | None
    label: StoredLabel | None


class Interval(Record):
    """An interval."""

    low: float
    high: float


class CalibrationBin(Record):
    """The predictions whose confidence lies in [low, high); the interval of the accuracy is Wilson's, of 95 %."""

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
    """What abstaining below a threshold does; the risk is the share of errors among the answered."""

    threshold: float
    coverage: float
    answered: int
    selective_risk: float | None


class LabelledScores(Record):
    """What the labels of one model version say; a positive gap is overconfidence."""

    questions: int
    accuracy: float
    mean_confidence: float
    signed_gap: float
    gap_z: float | None
    spiegelhalter_z: float | None
    top_label_brier: float
    ece: float
    ece_interval: Interval
    ece_noise_floor: NoiseFloor
    selective_risk: float | None
    bins: list[CalibrationBin]
    curve: list[CurvePoint]


class LabelDelay(Record):
    """How long labels took, in seconds from the answer."""

    median_seconds: float
    p90_seconds: float


class ReferenceAbstention(Record):
    """How often the version abstained before it was served."""

    threshold: float | None
    share: float | None


class Reference(Record):
    """What the version did on its calibration split, by its manifest."""

    questions: int
    accuracy: float
    ece: float
    confidence_shares: list[float] | None
    feu_shares: list[float] | None
    abstention: ReferenceAbstention | None
    curve: list[CurvePoint] | None


class SequentialTest(Record):
    """One test of a version over its whole life, valid however often one looks; an alarm stays."""

    test: Literal["overconfident", "underconfident", "error_rate"]
    log_evidence: float
    alarm: bool
    alarmed_at: datetime.datetime | None
    labels: int
    since: datetime.datetime


class CalibrationCohort(Record):
    """The predictions that one model version made in the window; shares are of all of them, in equal bins of [0, 1]."""

    model: str
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
    """Live calibration by the time of the prediction, whenever its label came."""

    since: datetime.datetime
    until: datetime.datetime
    counted_limit: int
    scored_limit: int
    models: list[CalibrationCohort]
