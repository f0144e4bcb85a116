"""Response bodies about calibration."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from uq4ct.model_store.storage.manifest import Manifest, ReferenceCurve
from uq4ct.model_store.uncertainty.bins import BINS
from uq4ct.model_store.uncertainty.calibration_error import NoiseFloor
from uq4ct.model_store.uncertainty.intervals import Interval, wilson_interval
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS
from uq4ct.service.ledger.calibration import BinSums, Cohort, LabelDelay, LabelledScores
from uq4ct.service.ledger.cohorts import LiveCalibration
from uq4ct.service.ledger.queries import COUNTED, SCORED
from uq4ct.service.ledger.sequential import RunningTest
from uq4ct.service.ledger.verdict import FEWEST_LABELS, LARGEST_Z, Reason, State, Verdict, judge
from uq4ct.service.schemas.common import Body, Probability, show_time
from uq4ct.service.telemetry.metrics import SequentialTest

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Shares = Annotated[list[Probability], Field(min_length=BINS, max_length=BINS)]


class Range(Body):
    """A closed interval."""

    low: float
    high: float

    @classmethod
    def from_interval(cls, interval: Interval) -> Range:
        """Convert an interval."""
        return cls(low=interval.low, high=interval.high)


class CalibrationBin(Body):
    """The predictions whose confidence is in [low, high)."""

    low: Probability
    high: Probability
    predictions: Count
    labelled: Count = Field(description="labelled predictions among those that are scored")
    mean_confidence: Probability | None = Field(description="of the labelled predictions")
    accuracy: Probability | None
    accuracy_interval: Range | None = Field(description="95 % Wilson score interval")

    @classmethod
    def from_sums(cls, index: int, predictions: int, sums: BinSums) -> CalibrationBin:
        """Convert a bin; without labels it has no means."""
        n = sums.labelled
        return cls(
            low=index / BINS,
            high=(index + 1) / BINS,
            predictions=predictions,
            labelled=n,
            mean_confidence=min(sums.confidence_sum / n, 1.0) if n else None,
            accuracy=sums.correct / n if n else None,
            accuracy_interval=Range.from_interval(wilson_interval(sums.correct, n)) if n else None,
        )


class Floor(Body):
    """Expected calibration error that a perfectly calibrated model with these confidences would show."""

    mean: float
    p95: float

    @classmethod
    def from_floor(cls, floor: NoiseFloor) -> Floor:
        """Convert a noise floor."""
        return cls(mean=floor.mean, p95=floor.p95)


class CurvePoint(Body):
    """The effect of abstaining below a threshold."""

    threshold: Probability
    coverage: Probability = Field(description="share of the questions whose confidence is at least the threshold")
    answered: Count
    selective_risk: Probability | None = Field(
        description="share of errors among the answered questions; null if none are answered"
    )


def show_curve(
    thresholds: Sequence[float], answered: Sequence[int], wrong: Sequence[int], questions: int
) -> list[CurvePoint]:
    """Convert a curve of counts over `questions` to points."""
    return [
        CurvePoint(threshold=threshold, coverage=n / questions, answered=n, selective_risk=errors / n if n else None)
        for threshold, n, errors in zip(thresholds, answered, wrong, strict=True)
    ]


class LabelledView(Body):
    """Calibration measured with labels."""

    questions: Count = Field(description="labelled predictions that are scored, the newest of the window")
    accuracy: Probability
    mean_confidence: Probability
    signed_gap: float = Field(description="mean confidence minus accuracy: positive = overconfident")
    gap_z: float | None = Field(
        description="the gap in standard deviations of a calibrated model; null if the confidences have no variance"
    )
    spiegelhalter_z: float | None = Field(description="Spiegelhalter's Z; do not read it alone: opposite errors cancel")
    top_label_brier: Probability = Field(description="mean of (confidence - 1{right})^2")
    ece: float = Field(description="expected calibration error; compare it with its noise floor")
    ece_noise_floor: Floor
    rms_calibration_error: float = Field(
        description="root mean squared calibration error over the bins, without the part that chance adds; 0 = no "
        "more than chance explains"
    )
    rms_calibration_error_interval: Range = Field(description="95 % interval")
    selective_risk: Probability | None = Field(description="share of errors among the answers without abstention")
    bins: list[CalibrationBin]
    curve: list[CurvePoint] = Field(description="at the thresholds 0.00, 0.01, ..., 1.00")

    @classmethod
    def from_scores(cls, scores: LabelledScores, predictions: Sequence[int]) -> LabelledView:
        """Convert the scores; `predictions` counts the predictions of each bin, labelled or not."""
        curve = scores.curve
        pairs = zip(predictions, scores.bins, strict=True)
        return cls(
            questions=scores.questions,
            accuracy=scores.accuracy,
            mean_confidence=min(scores.mean_confidence, 1.0),
            signed_gap=scores.mean_confidence - scores.accuracy,
            gap_z=scores.gap_z,
            spiegelhalter_z=scores.spiegelhalter_z,
            top_label_brier=min(scores.top_label_brier, 1.0),
            ece=scores.ece,
            ece_noise_floor=Floor.from_floor(scores.ece_noise_floor),
            rms_calibration_error=scores.rms_calibration_error,
            rms_calibration_error_interval=Range.from_interval(scores.rms_calibration_error_interval),
            selective_risk=scores.selective_risk,
            bins=[CalibrationBin.from_sums(index, *pair) for index, pair in enumerate(pairs)],
            curve=show_curve(THRESHOLDS, curve.answered, curve.wrong, scores.questions),
        )


class DelayView(Body):
    """Time from answers to their labels, in seconds."""

    median_seconds: Seconds
    p90_seconds: Seconds

    @classmethod
    def from_delay(cls, delay: LabelDelay) -> DelayView:
        """Convert a delay."""
        return cls(median_seconds=delay.median, p90_seconds=delay.p90)


class AbstentionView(Body):
    """How often the version abstained before serving."""

    threshold: Probability | None = Field(description="threshold of the confidence; null if none was published")
    share: Probability | None = Field(
        description="share of the test questions on which the version abstained, for any reason"
    )


class ReferenceView(Body):
    """Results of the version on its calibration split, from its manifest; live traffic is compared with them."""

    questions: Count
    accuracy: Probability
    ece: Probability
    confidence_shares: Shares | None = Field(description="null if the manifest has different bins")
    feu_shares: Shares | None
    abstention: AbstentionView | None = Field(description="null if the manifest records neither")
    curve: list[CurvePoint] | None = Field(description="null for versions published before curves were stored")

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> ReferenceView:
        """Convert the calibration split's results in a manifest."""
        reference = manifest.reference_histograms
        comparable = reference.bins == BINS
        return cls(
            questions=reference.questions,
            accuracy=reference.accuracy,
            ece=reference.ece,
            confidence_shares=show_shares(reference.confidence) if comparable else None,
            feu_shares=show_shares(reference.feu) if comparable and reference.feu is not None else None,
            abstention=_show_abstention(manifest),
            curve=_show_reference_curve(manifest.reference_curve),
        )


class SequentialView(Body):
    """One sequential test of a version over its whole life, valid however often you look.

    It counts the labels of the key's own tenant or, with an admin key, those of all tenants.
    """

    test: SequentialTest = Field(
        description="overconfident and underconfident: whether the confidence is too high or too low; error_rate: "
        "whether the error rate exceeds that of the calibration split by more than a margin and its uncertainty"
    )
    log_evidence: float = Field(description="natural logarithm of the evidence against the version; 0 = none")
    alarm: bool = Field(description="whether the evidence has ever passed its bound; never reset")
    alarmed_at: datetime.datetime | None = Field(description="arrival time of the label that raised the alarm")
    labels: Count
    since: datetime.datetime = Field(description="arrival time of the first counted label")

    @classmethod
    def from_test(cls, test: RunningTest) -> SequentialView:
        """Convert the current state of a test."""
        return cls(
            test=test.test,
            log_evidence=test.wealth.log_evidence,
            alarm=test.alarmed_ms is not None,
            alarmed_at=None if test.alarmed_ms is None else show_time(test.alarmed_ms),
            labels=test.wealth.labels,
            since=show_time(test.started_ms),
        )


class AlarmView(Body):
    """The alarm of a sequential test of one version."""

    model: str = Field(description="name@version")
    test: SequentialTest
    alarmed_at: datetime.datetime = Field(description="arrival time of the label that raised the alarm")
    labels: Count = Field(description="labels counted up to now")

    @classmethod
    def from_test(cls, test: RunningTest) -> AlarmView:
        """Convert a test that has raised an alarm; raises ValueError for another."""
        if test.alarmed_ms is None:
            raise ValueError(f"test {test.test} of {test.model}@{test.version} has raised no alarm")
        model = f"{test.model}@{test.version}"
        return cls(model=model, test=test.test, alarmed_at=show_time(test.alarmed_ms), labels=test.wealth.labels)


class VerdictView(Body):
    """One verdict from the calibration error, both z values, the alarms and the number of labels."""

    state: State = Field(
        description=f"too_few_labels: below {FEWEST_LABELS} scored labels and no alarm; no_evidence: nothing speaks "
        "against the confidence, which does not prove that it is right; more_errors: the error rate exceeds that of "
        "the calibration split"
    )
    reasons: list[Reason] = Field(
        description=f"ece: above the 95th percentile of its noise floor; gap_z, spiegelhalter_z: "
        f"above {LARGEST_Z:g} or below -{LARGEST_Z:g}; alarms: of the sequential tests, over the life of the version"
    )

    @classmethod
    def from_verdict(cls, verdict: Verdict) -> VerdictView:
        """Convert a verdict."""
        return cls(state=verdict.state, reasons=list(verdict.reasons))


class CohortView(Body):
    """The predictions of one model version in the window."""

    model: str = Field(description="name@version")
    verdict: VerdictView
    predictions: Count = Field(description="counted predictions, the newest of the window")
    mean_confidence: Probability = Field(description="of all predictions: the expected accuracy, if calibrated")
    coverage: Probability = Field(description="share of predictions without abstention")
    label_share: Probability = Field(description="share of predictions with a label")
    label_delay: DelayView | None = Field(description="null if `labelled` is null")
    confidence_shares: Shares = Field(description="share of all predictions in each of the equal bins of [0, 1]")
    feu_shares: Shares | None = Field(description="the same by FEU; null if the version has none")
    reference: ReferenceView | None = Field(description="null if the version is damaged or no longer in the store")
    labelled: LabelledView | None = Field(
        description="null if none of the labels that are scored, the newest of the window, is for this version"
    )
    sequential: list[SequentialView] = Field(
        description="empty until labels are counted, a few seconds after they arrive"
    )

    @classmethod
    def from_cohort(cls, cohort: Cohort, manifest: Manifest | None) -> CohortView:
        """Convert a cohort and, if there is one, the manifest of its version."""
        count, scores = cohort.count, cohort.scores
        return cls(
            model=f"{count.model}@{count.version}",
            verdict=VerdictView.from_verdict(judge(cohort)),
            predictions=count.predictions,
            mean_confidence=min(count.confidence_sum / count.predictions, 1.0),
            coverage=count.answered / count.predictions,
            label_share=count.labelled / count.predictions,
            label_delay=None if cohort.delay is None else DelayView.from_delay(cohort.delay),
            confidence_shares=show_shares(count.by_confidence),
            feu_shares=None if count.by_feu is None else show_shares(count.by_feu),
            reference=None if manifest is None else ReferenceView.from_manifest(manifest),
            labelled=None if scores is None else LabelledView.from_scores(scores, count.by_confidence),
            sequential=[SequentialView.from_test(test) for test in sorted(cohort.tests, key=lambda test: test.test)],
        )


class CalibrationReport(Body):
    """Live calibration of the predictions made in a window, regardless of when their labels arrived."""

    since: datetime.datetime
    until: datetime.datetime
    counted_limit: int = Field(description="largest number of predictions counted, the newest of the window")
    scored_limit: int = Field(description="largest number of labelled predictions scored, the newest of the window")
    alarms: list[AlarmView] = Field(
        description="of every version that the key may see, the latest first, whatever the window and the model"
    )
    models: list[CohortView]

    @classmethod
    def from_live(
        cls, since_ms: int, until_ms: int, live: LiveCalibration, manifests: Mapping[tuple[str, int], Manifest]
    ) -> CalibrationReport:
        """Convert the calibration of a window with the manifests of their versions; times are Unix milliseconds."""
        return cls(
            since=show_time(since_ms),
            until=show_time(until_ms),
            counted_limit=COUNTED,
            scored_limit=SCORED,
            alarms=[AlarmView.from_test(test) for test in live.alarms],
            models=[
                CohortView.from_cohort(cohort, manifests.get((cohort.count.model, cohort.count.version)))
                for cohort in live.cohorts
            ],
        )


def show_shares(counts: Iterable[int]) -> list[float]:
    """Return each count's share of the total, which must be above 0."""
    numbers = list(counts)
    total = sum(numbers)
    return [number / total for number in numbers]


def _show_abstention(manifest: Manifest) -> AbstentionView | None:
    abstention, tested = manifest.decisions.abstention, manifest.decisions.tested
    if abstention is None and tested is None:
        return None
    return AbstentionView(
        threshold=None if abstention is None else abstention.threshold,
        share=None if tested is None else 1 - tested.answered,
    )


def _show_reference_curve(curve: ReferenceCurve) -> list[CurvePoint]:
    return show_curve(curve.thresholds, curve.answered, curve.wrong, curve.questions)
