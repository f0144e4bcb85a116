"""The service's calibration report as the client reads it."""

from __future__ import annotations

import datetime
from typing import Literal

from uq4ct.service.client.record import Record
from uq4ct.service.client.showing import html_table, join_first, show_number


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

    def _cells(self) -> tuple[str, int, int, str, str, str, str]:
        """The model, its numbers of predictions and labels, accuracy, ECE, Brier score and alarms."""
        scores = self.labelled
        numbers = (None,) * 3 if scores is None else (scores.accuracy, scores.ece, scores.top_label_brier)
        accuracy, ece, brier = map(show_number, numbers)
        alarms = ", ".join(one.test for one in self.sequential if one.alarm) or "none"
        return (self.model, self.predictions, scores.questions if scores else 0, accuracy, ece, brier, alarms)

    def _summary(self) -> str:
        model, predictions, labels, accuracy, ece, brier, alarms = self._cells()
        scores = f", accuracy {accuracy}, ECE {ece}, Brier score {brier}" if labels else ""
        return f"{model}: predictions {predictions}, labels {labels}{scores}, alarms: {alarms}"


class Calibration(Record):
    """Live calibration of the predictions made in a window, regardless of when their labels arrived."""

    since: datetime.datetime
    until: datetime.datetime
    counted_limit: int
    scored_limit: int
    alarms: list[Alarm]
    models: list[CalibrationCohort]

    @property
    def _window(self) -> str:
        return f"{self.since:%Y-%m-%d %H:%M} to {self.until:%Y-%m-%d %H:%M}"

    def _summary(self) -> str:
        return f"{self._window}; {join_first([one._summary() for one in self.models]) or 'no predictions'}"

    def _repr_html_(self) -> str:
        """The models, for a notebook."""
        header = ("model", "predictions", "labels", "accuracy", "ECE", "Brier score", "alarms")
        return html_table(f"Calibration, {self._window}", header, [one._cells() for one in self.models])
