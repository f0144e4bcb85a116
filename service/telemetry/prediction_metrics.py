"""Counters of served answers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary

from uq4ct.model_store.uncertainty.bins import BINS, bin_of
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.series import BIN, BIN_LABELS, DECISION, DECISIONS, TASK

_SET_SIZES = (0, 1, 2, 3, 4, 5, 6, 8, 12, 18, 26)


@dataclass(frozen=True, slots=True)
class _Series:
    """The series of one model version and task, cached to avoid looking up their labels."""

    by_confidence: tuple[tuple[Counter, ...], ...]  # by decision, then by bin
    by_feu: tuple[Counter, ...]
    confidence: Summary
    set_size: Histogram


class PredictionMetrics:
    """Counts answers by confidence and FEU, and the sizes of their prediction sets."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._by_confidence = Counter(
            "uq4ct_predictions_by_confidence_total",
            f"Answers by confidence, in {BINS} equal bins of [0, 1]",
            DECISION,
            registry=registry,
        )
        self._by_feu = Counter(
            "uq4ct_predictions_by_feu_total",
            f"Answers by functional uncertainty (FEU), in {BINS} equal bins of [0, 1]",
            BIN,
            registry=registry,
        )
        self._confidence = Summary("uq4ct_prediction_confidence", "Confidence of the answers", TASK, registry=registry)
        self._set_size = Histogram(
            "uq4ct_prediction_set_size",
            "Size of the prediction sets of answers that have one",
            TASK,
            buckets=_SET_SIZES,
            registry=registry,
        )
        self._series_of = cache(self._make_series)

    def announce(self, model: str, version: int, task: str) -> None:
        """Export every series at zero."""
        self._series_of(model, version, task)

    def count(self, record: PredictionRecord) -> None:
        """Count one answer."""
        series = self._series_of(record.model, record.version, record.task)
        series.by_confidence[record.abstain][record.bin].inc()
        series.confidence.observe(record.confidence)
        if record.feu is not None:
            # FEU is a sum of fp32 masses and may exceed 1 by a rounding error.
            series.by_feu[bin_of(min(record.feu, 1.0))].inc()
        if record.prediction_set is not None:
            series.set_size.observe(len(record.prediction_set))

    def _make_series(self, model: str, version: int, task: str) -> _Series:
        labels = (model, str(version), task)
        return _Series(
            tuple(
                tuple(self._by_confidence.labels(*labels, label, decision) for label in BIN_LABELS)
                for decision in DECISIONS
            ),
            tuple(self._by_feu.labels(*labels, label) for label in BIN_LABELS),
            self._confidence.labels(*labels),
            self._set_size.labels(*labels),
        )
