"""Counters of the labels in the ledger: sums over any number of replicas give the calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram

from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.series import BIN_LABELS, DECISION, DECISIONS, TASK

FEEDBACK_RESULTS = ("accepted", "duplicate", "conflict", "unknown", "late")
_HOUR, _DAY = 3600, 86400
_DELAYS = (1, 10, 60, 600, _HOUR, 6 * _HOUR, _DAY, 3 * _DAY, 7 * _DAY, 30 * _DAY, 90 * _DAY)


@dataclass(frozen=True, slots=True)
class _Cell:
    """The sums over the labelled answers of one bin and decision, with confidence p."""

    predictions: Counter
    confidence: Counter
    correct: Counter
    variance: Counter


@dataclass(frozen=True, slots=True)
class _Series:
    """The series of one model version and task, cached to avoid looking up their labels."""

    cells: tuple[tuple[_Cell, ...], ...]  # by decision, then by bin
    brier: Counter
    z_variance: Counter
    delay: Histogram


class LabelMetrics:
    """Counts labels together with the confidence of the served answers; thread-safe."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.feedback = Counter("uq4ct_feedback_total", "Labels received, by result", ["result"], registry=registry)
        for result in FEEDBACK_RESULTS:
            self.feedback.labels(result)
        self._by_cell = tuple(
            Counter(f"uq4ct_labelled_{name}_total", description, DECISION, registry=registry)
            for name, description in (
                ("predictions", "Answers with a label"),
                ("confidence", "Sum of the confidence p of labelled answers"),
                ("correct", "Labelled answers that were right"),
                ("variance", "Sum of p (1 - p) over labelled answers"),
            )
        )
        # For the chosen option only; the Brier score of the manifest sums over all options.
        self._brier = Counter(
            "uq4ct_labelled_top_label_brier_total",
            "Sum of (y - p)^2 over labelled answers, y = 1 for a right answer, else 0",
            TASK,
            registry=registry,
        )
        self._z_variance = Counter(
            "uq4ct_labelled_z_variance_total",
            "Sum of (1 - 2 p)^2 p (1 - p), the variance of the numerator of Spiegelhalter's Z",
            TASK,
            registry=registry,
        )
        self._delay = Histogram(
            "uq4ct_label_delay_seconds",
            "Time from an answer to its label",
            TASK,
            buckets=_DELAYS,
            registry=registry,
        )
        # Two threads may create the same series at once; they get the same counters.
        self._series_of = cache(self._make_series)

    def announce(self, model: str, version: int, task: str) -> None:
        """Export every series at zero."""
        self._series_of(model, version, task)

    def count(self, record: PredictionRecord, *, correct: bool, labelled_ms: int) -> None:
        """Count the label of one answer; `labelled_ms` is in Unix milliseconds."""
        p, y = record.confidence, float(correct)
        series = self._series_of(record.model, record.version, record.task)
        cell = series.cells[record.abstain][record.bin]
        cell.predictions.inc()
        cell.confidence.inc(p)
        cell.correct.inc(y)
        cell.variance.inc(p * (1 - p))
        series.brier.inc((y - p) ** 2)
        series.z_variance.inc((1 - 2 * p) ** 2 * p * (1 - p))
        # The clock of the replica that created the answer's id may be ahead of this one's.
        series.delay.observe(max(0, labelled_ms - record.created_ms) / 1000)

    def _make_series(self, model: str, version: int, task: str) -> _Series:
        labels = (model, str(version), task)
        return _Series(
            tuple(
                tuple(
                    _Cell(*(counter.labels(*labels, label, decision) for counter in self._by_cell))
                    for label in BIN_LABELS
                )
                for decision in DECISIONS
            ),
            self._brier.labels(*labels),
            self._z_variance.labels(*labels),
            self._delay.labels(*labels),
        )
