"""Gauges of a version's scores before serving, from its manifest; live traffic is compared with them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Gauge

from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.model_store.uncertainty.bins import BINS
from uq4ct.service.telemetry.series import BIN_LABELS, MODEL

logger = logging.getLogger(__name__)


class ReferenceMetrics:
    """Reference gauges: the same on every replica, so rules must aggregate them with max, not sum."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, description: str, *labels: str) -> Gauge:
            return Gauge(f"uq4ct_reference_{name}", description, [*MODEL, *labels], registry=registry)

        self._confidence = gauge("confidence_share", "Share of the reference questions by confidence", "bin")
        self._feu = gauge("feu_share", "Share of the reference questions by functional uncertainty (FEU)", "bin")
        self._questions = gauge("questions", "Number of reference questions")
        self._accuracy = gauge("accuracy", "Accuracy on the reference questions")
        self._ece = gauge("ece", "Expected calibration error on the reference questions")
        self._abstention = gauge("abstention_share", "Share of the test questions on which the model abstains")
        self._abstention_error = gauge("abstention_standard_error", "Standard error of the share of abstentions")

    def show(self, manifest: Manifest) -> None:
        """Export the values in the manifest; missing ones get no series."""
        labels = (manifest.name, str(manifest.version))
        reference = manifest.reference_histograms
        self._questions.labels(*labels).set(reference.questions)
        self._accuracy.labels(*labels).set(reference.accuracy)
        self._ece.labels(*labels).set(reference.ece)
        if manifest.decisions.tested is not None:
            answered, questions = manifest.decisions.tested.answered, manifest.scores_after.questions
            self._abstention.labels(*labels).set(1 - answered)
            self._abstention_error.labels(*labels).set(math.sqrt(answered * (1 - answered) / questions))
        if reference.bins != BINS:
            extra = {"model": manifest.reference, "bins": reference.bins, "counted": BINS}
            logger.warning("reference histograms not comparable", extra=extra)
            return
        _show_shares(self._confidence, labels, reference.confidence)
        if reference.feu is not None:
            _show_shares(self._feu, labels, reference.feu)


def _show_shares(gauge: Gauge, labels: tuple[str, str], counts: Sequence[int]) -> None:
    total = sum(counts)
    for label, count in zip(BIN_LABELS, counts, strict=True):
        gauge.labels(*labels, label).set(count / total)
