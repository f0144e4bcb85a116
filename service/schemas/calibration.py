"""What goes over the wire about calibration."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from uq4ct.model_store.storage.manifest import Manifest, ReferenceCurve
from uq4ct.model_store.uncertainty.calibration_error import BINS, NoiseFloor
from uq4ct.model_store.uncertainty.resampling import Interval
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS
from uq4ct.service.ledger.calibration import BinSums, Cohort, LabelDelay, LabelledScores, wilson_interval
from uq4ct.service.ledger.queries import COUNTED, SCORED
from uq4ct.service.ledger.sequential import RunningTest
from uq4ct.service.schemas.common import Body, Probability, show_time
from uq4ct.service.telemetry.metrics import SequentialTest

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Shares = Annotated[list[Probability], Field(min_length=BINS, max_length=BINS)]


class Range(Body):
    """An interval."""

    low: float
    high: float

    @classmethod
    def from_interval(cls, interval: Interval) -> Range:
        """Show an interval."""
        return cls(low=interval.low, high=interval.high)


class CalibrationBin(Body):
    """The predictions whose confidence lies in [low, high)."""

    low: Probability
    high: Probability
    predictions: Count
    labelled: Count = Field(description="of those that scores are computed from")
    mean_confidence: Probability | None = Field(description="of the labelled")
    accuracy: Probability | None
    accuracy_interval: Range | None = Field(description="95 % interval by Wilson's score")

    @classmethod
    def from_sums(cls, index: int, predictions: int, sums: BinSums) -> CalibrationBin:
        """Show a bin; one without labels has no means."""
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
        """Show a noise floor."""
        return cls(mean=floor.mean, p95=floor.p95)


class CurvePoint(Body):
    """What abstaining below a threshold does."""

    threshold: Probability
    coverage: Probability = Field(description="share of the questions whose confidence is at least the threshold")
    answered: Count
    selective_risk: Probability | None = Field(description="share of errors among them; null where there are none")


def show_curve(
    thresholds: Sequence[float], answered: Sequence[int], wrong: Sequence[int], questions: int
) -> list[CurvePoint]:
    """The points of a curve of counts over `questions`."""
    return [
        CurvePoint(threshold=threshold, coverage=n / questions, answered=n, selective_risk=errors / n if n else None)
        for threshold, n, errors in zip(thresholds, answered, wrong, strict=True)
    ]


class LabelledView(Body):
    """What the labels say."""

    questions: Count = Field(description="labelled predictions that this was computed from, the newest of the window")
    accuracy: Probability
    mean_confidence: Probability
    signed_gap: float = Field(description="mean confidence less accuracy: positive = overconfident")
    gap_z: float | None = Field(
        description="the gap in standard deviations of a calibrated model; null where the confidences leave no variance"
    )
    spiegelhalter_z: float | None = Field(description="Spiegelhalter's Z; never read it alone: opposite errors cancel")
    top_label_brier: Probability = Field(description="mean of (confidence - 1{right})^2")
    ece: float = Field(description="expected calibration error; read it beside its noise floor")
    ece_interval: Range = Field(description="95 % bootstrap interval")
    ece_noise_floor: Floor
    selective_risk: Probability | None = Field(description="share of errors among the answers without abstention")
    bins: list[CalibrationBin]
    curve: list[CurvePoint] = Field(description="over the thresholds 0.00, 0.01 to 1.00")

    @classmethod
    def from_scores(cls, scores: LabelledScores, predictions: Sequence[int]) -> LabelledView:
        """Show the scores; `predictions` are those of each bin, labelled or not."""
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
            ece_interval=Range.from_interval(scores.ece_interval),
            ece_noise_floor=Floor.from_floor(scores.ece_noise_floor),
            selective_risk=scores.selective_risk,
            bins=[CalibrationBin.from_sums(index, *pair) for index, pair in enumerate(pairs)],
            curve=show_curve(THRESHOLDS, curve.answered, curve.wrong, scores.questions),
        )


class DelayView(Body):
    """How long labels took, in seconds from the answer."""

    median_seconds: Seconds
    p90_seconds: Seconds

    @classmethod
    def from_delay(cls, delay: LabelDelay) -> DelayView:
        """Show a delay."""
        return cls(median_seconds=delay.median, p90_seconds=delay.p90)


class AbstentionView(Body):
    """How often the version abstained before it was served."""

    threshold: Probability | None = Field(description="of the confidence; null where none was published")
    share: Probability | None = Field(description="of the test questions that were abstained from, for any reason")


class ReferenceView(Body):
    """What the version did on its calibration split, by its manifest: what traffic is held against."""

    questions: Count
    accuracy: Probability
    ece: Probability
    confidence_shares: Shares | None = Field(description="null where the manifest has other bins")
    feu_shares: Shares | None
    abstention: AbstentionView | None = Field(description="null where the manifest says nothing of it")
    curve: list[CurvePoint] | None = Field(description="null for versions published before curves were stored")

    @classmethod
    def from_manifest(cls, manifest: Manifest) -> ReferenceView:
        """Show what a manifest says of the calibration split."""
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
    """One test of a version over its whole life and all tenants, valid however often one looks."""

    test: SequentialTest = Field(
        description="overconfident and underconfident: whether the confidence means what it says; error_rate: whether "
        "there are more errors than on the calibration split, by more than a margin"
    )
    log_evidence: float = Field(description="natural logarithm of the evidence against the version; 0 = none")
    alarm: bool = Field(description="the evidence has passed its bound once; it stays")
    alarmed_at: datetime.datetime | None = Field(description="when the label came that raised the alarm")
    labels: Count
    since: datetime.datetime = Field(description="when the first label came that counts")

    @classmethod
    def from_test(cls, test: RunningTest) -> SequentialView:
        """Show a test as it stands."""
        return cls(
            test=test.test,
            log_evidence=test.wealth.log_evidence,
            alarm=test.alarmed_ms is not None,
            alarmed_at=None if test.alarmed_ms is None else show_time(test.alarmed_ms),
            labels=test.wealth.labels,
            since=show_time(test.started_ms),
        )


class CohortView(Body):
    """The predictions that one model version made in the window."""

    model: str = Field(description="name@version")
    predictions: Count = Field(description="of the newest of the window that are counted")
    mean_confidence: Probability = Field(description="of all of them: the accuracy to expect, if it is calibrated")
    coverage: Probability = Field(description="share of them without abstention")
    label_share: Probability = Field(description="share of them with a label")
    label_delay: DelayView | None = Field(description="null where `labelled` is")
    confidence_shares: Shares = Field(description="of all of them, in equal bins of [0, 1]")
    feu_shares: Shares | None = Field(description="the same by FEU; null where there is none")
    reference: ReferenceView | None = Field(description="null where the store has this version no more, or damaged")
    labelled: LabelledView | None = Field(
        description="null as long as none of the window's newest labels, which are scored, is for this version"
    )
    sequential: list[SequentialView] = Field(description="empty until labels are counted, some seconds after they came")

    @classmethod
    def from_cohort(cls, cohort: Cohort, manifest: Manifest | None) -> CohortView:
        """Show a cohort beside the manifest of its version, if there is one."""
        count, scores = cohort.count, cohort.scores
        return cls(
            model=f"{count.model}@{count.version}",
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
    """Live calibration by the time of the prediction, whenever its label came."""

    since: datetime.datetime
    until: datetime.datetime
    counted_limit: int = Field(description="predictions of the window that are counted at most, the newest")
    scored_limit: int = Field(description="labelled ones that scores are computed from at most, the newest")
    models: list[CohortView]

    @classmethod
    def from_cohorts(
        cls, since_ms: int, until_ms: int, cohorts: Sequence[Cohort], manifests: Mapping[tuple[str, int], Manifest]
    ) -> CalibrationReport:
        """Show the cohorts of a window, each beside the manifest of its version; times are Unix milliseconds."""
        return cls(
            since=show_time(since_ms),
            until=show_time(until_ms),
            counted_limit=COUNTED,
            scored_limit=SCORED,
            models=[
                CohortView.from_cohort(cohort, manifests.get((cohort.count.model, cohort.count.version)))
                for cohort in cohorts
            ],
        )


def show_shares(counts: Iterable[int]) -> list[float]:
    """Each count's share of them all, which is above 0."""
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
