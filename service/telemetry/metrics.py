"""The service's metrics, all on one registry that is passed in; only counters, histograms and states add up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from model_store.storage.manifest import Manifest
from model_store.uncertainty.calibration_error import BINS, bin_of
from service.engine.predictor import Answer
from service.ledger.records import PredictionRecord

REJECTIONS = (
    "queue_full",
    "rate_limited",
    "too_large",
    "not_ready",
    "draining",
    "question_too_long",
    "client_gone",
    "deadline_passed",
    "ledger_unavailable",
)
SequentialTest = Literal["overconfident", "underconfident", "error_rate"]
OTHER_TASK = "other"
FEEDBACK_RESULTS = ("accepted", "duplicate", "conflict", "unknown", "late")
_DECISIONS = ("answer", "abstain")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)


class Metrics:
    """Everything that `/metrics` shows, under the prefix `uq4ct_`."""

    def __init__(self, registry: CollectorRegistry, tasks: Sequence[str] = ()) -> None:
        self.registry = registry
        self._tasks = (*tasks, OTHER_TASK)
        self._define_requests()
        self._define_engine()
        self._define_predictions()
        self._define_labels()
        self._define_sequential()

    def announce_model(self, manifest: Manifest) -> None:
        """Show the loaded adapter, with every bin at zero: a first increment of a series not seen yet is lost."""
        labels = (manifest.name, str(manifest.version))
        self.model_loaded.labels(*labels).set(1)
        self.prediction_confidence.labels(*labels)
        for index in range(BINS):
            self.predictions_by_confidence.labels(*labels, _bin_label(index))
            self.predictions_by_feu.labels(*labels, _bin_label(index))
        self._announce_labels(labels)

    def retire_model(self, manifest: Manifest) -> None:
        """Show that the adapter is not loaded any more; its counters stay, since they may only grow."""
        self.model_loaded.labels(manifest.name, str(manifest.version)).set(0)

    def show_sequential(self, model: str, version: int, test: SequentialTest, log_evidence: float, alarm: bool) -> None:
        """Show a sequential test as it stands in the ledger: the logarithm of its evidence, and whether it alarms."""
        self.sequential_log_evidence.labels(model, str(version), test).set(log_evidence)
        self.sequential_alarm.labels(model, str(version), test).set(alarm)

    def observe_batch(self, lengths: Sequence[int]) -> None:
        """Count a batch of rows with these tokens, each padded to the longest."""
        padded = len(lengths) * max(lengths)
        self.batch_size.observe(len(lengths))
        self.batch_tokens.observe(padded)
        self.batch_padding_ratio.observe(1 - sum(lengths) / padded)

    def count_prediction(self, manifest: Manifest, answer: Answer) -> None:
        """Count an answer as it is served."""
        labels = (manifest.name, str(manifest.version))
        self.predictions_by_confidence.labels(*labels, _bin_of(answer.confidence)).inc()
        self.prediction_confidence.labels(*labels).observe(answer.confidence)
        if answer.feu is not None:
            self.predictions_by_feu.labels(*labels, _bin_of(answer.feu)).inc()

    def count_label(self, record: PredictionRecord, *, correct: bool) -> None:
        """Count a label that the ledger has taken, with what was served."""
        p = record.confidence
        labels = (
            record.model,
            str(record.version),
            record.task,
            _bin_label(record.bin),
            _DECISIONS[record.abstain],
        )
        self.labelled_predictions.labels(*labels).inc()
        self.labelled_confidence.labels(*labels).inc(p)
        self.labelled_correct.labels(*labels).inc(correct)
        self.labelled_variance.labels(*labels).inc(p * (1 - p))

    def _announce_labels(self, model: tuple[str, str]) -> None:
        cells = itertools.product(self._tasks, map(_bin_label, range(BINS)), _DECISIONS)
        for cell in cells:
            for counter in self._by_label:
                counter.labels(*model, *cell)

    def _define_requests(self) -> None:
        self.requests = Counter(
            "uq4ct_requests_total",
            "Requests by route template and status code",
            ["route", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "uq4ct_request_duration_seconds",
            "From the first byte of a request to the last of its response",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rejected = Counter(
            "uq4ct_rejected_total",
            "Questions that got no answer, by reason",
            ["reason"],
            registry=self.registry,
        )
        for reason in REJECTIONS:
            self.rejected.labels(reason)

    def _define_engine(self) -> None:
        stages = Histogram(
            "uq4ct_stage_duration_seconds",
            "Time in each stage: tokenize and queue a question, forward a batch, write a batch to the ledger",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokenize_seconds = stages.labels("tokenize")
        self.queue_seconds = stages.labels("queue")
        self.forward_seconds = stages.labels("forward")
        self.ledger_seconds = stages.labels("ledger")
        self.queue_depth = Gauge("uq4ct_queue_depth", "Questions waiting for a forward", registry=self.registry)
        self.queue_tokens = Gauge("uq4ct_queue_tokens", "Tokens waiting for a forward", registry=self.registry)
        self.batch_size = Histogram(
            "uq4ct_batch_size", "Questions of a forward", buckets=_COUNTS, registry=self.registry
        )
        self.batch_tokens = Histogram(
            "uq4ct_batch_tokens", "Tokens of a forward, padding included", buckets=_TOKENS, registry=self.registry
        )
        self.batch_padding_ratio = Histogram(
            "uq4ct_batch_padding_ratio",
            "Share of a forward's tokens that is padding",
            buckets=_SHARES,
            registry=self.registry,
        )

    def _define_predictions(self) -> None:
        model = ["model", "version"]
        self.model_loaded = Gauge("uq4ct_model_loaded", "1 for a loaded adapter", model, registry=self.registry)
        self.predictions_by_confidence = Counter(
            "uq4ct_predictions_by_confidence_total",
            f"Answers by their confidence, in {BINS} equal bins of [0, 1]",
            [*model, "bin"],
            registry=self.registry,
        )
        self.predictions_by_feu = Counter(
            "uq4ct_predictions_by_feu_total",
            f"Answers by their functional uncertainty, in {BINS} equal bins of [0, 1]",
            [*model, "bin"],
            registry=self.registry,
        )
        self.prediction_confidence = Summary(
            "uq4ct_prediction_confidence", "Confidence of the answers", model, registry=self.registry
        )

    def _define_sequential(self) -> None:
        labels = ["model", "version", "test"]
        self.sequential_log_evidence = Gauge(
            "uq4ct_sequential_log_evidence",
            "Natural logarithm of the evidence of a sequential test against the version",
            labels,
            registry=self.registry,
        )
        self.sequential_alarm = Gauge(
            "uq4ct_sequential_alarm",
            "1 once the evidence has passed its bound",
            labels,
            registry=self.registry,
        )

    def _define_labels(self) -> None:
        self.ledger_unlogged = Counter(
            "uq4ct_ledger_unlogged_total", "Answers that the ledger does not have", registry=self.registry
        )
        self.ledger_buffer_depth = Gauge(
            "uq4ct_ledger_buffer_depth", "Answers that wait to be written to the ledger", registry=self.registry
        )
        self.feedback = Counter(
            "uq4ct_feedback_total", "Labels that came, by what became of them", ["result"], registry=self.registry
        )
        for result in FEEDBACK_RESULTS:
            self.feedback.labels(result)
        self.labelled_predictions = self._count_by_label("predictions", "Answers whose label has come")
        self.labelled_confidence = self._count_by_label("confidence", "Sum of their confidence p")
        self.labelled_correct = self._count_by_label("correct", "Answers whose label is the chosen option")
        self.labelled_variance = self._count_by_label("variance", "Sum of p (1 - p)")
        self._by_label = (
            self.labelled_predictions,
            self.labelled_confidence,
            self.labelled_correct,
            self.labelled_variance,
        )

    def _count_by_label(self, name: str, description: str) -> Counter:
        cell = ["model", "version", "task", "bin", "decision"]
        return Counter(f"uq4ct_labelled_{name}_total", description, cell, registry=self.registry)


def _bin_label(index: int) -> str:
    return f"{index:02d}"


def _bin_of(share: float) -> str:
    # FEU is a sum of fp32 masses and may lie a rounding error above 1.
    return _bin_label(bin_of(min(share, 1.0)))
