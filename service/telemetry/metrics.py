"""The service's metrics, all on one registry that is passed in; only counters, histograms and states add up."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from uq4ct import __version__
from uq4ct.model_store.storage.manifest import Manifest
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.label_metrics import LabelMetrics
from uq4ct.service.telemetry.prediction_metrics import PredictionMetrics
from uq4ct.service.telemetry.reference_metrics import ReferenceMetrics
from uq4ct.service.telemetry.series import MODEL, OTHER_TASK

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
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Metrics:
    """Everything that `/metrics` shows, under the prefix `uq4ct_`.

    A model version has 197 series for each task, 42 more beside them, and keeps them when it is unloaded: counters may
    only grow.
    """

    def __init__(self, registry: CollectorRegistry, tasks: Sequence[str] = ()) -> None:
        self.registry = registry
        self._tasks = (*tasks, OTHER_TASK)
        self._show_build()
        self._define_requests()
        self._define_queue()
        self._define_forwards()
        self._define_ledger()
        self._define_models()
        self._predictions = PredictionMetrics(registry)
        self._labels = LabelMetrics(registry)
        self._reference = ReferenceMetrics(registry)
        self.feedback = self._labels.feedback

    def announce_model(self, manifest: Manifest) -> None:
        """Show the loaded adapter, with every counter at zero: a first increment of a series not seen yet is lost."""
        self.model_loaded.labels(manifest.name, str(manifest.version)).set(1)
        for task in self._tasks:
            self._predictions.announce(manifest.name, manifest.version, task)
            self._labels.announce(manifest.name, manifest.version, task)
        self._reference.show(manifest)

    def retire_model(self, manifest: Manifest) -> None:
        """Show that the adapter is not loaded any more; its counters stay, since they may only grow."""
        self.model_loaded.labels(manifest.name, str(manifest.version)).set(0)

    def watch_keys_file(self, is_readable: Callable[[], bool]) -> None:
        """Show at each scrape whether the file of keys can be read; without such a file there is nothing to show."""
        gauge = Gauge(
            "uq4ct_keys_file_readable",
            "1 where the valid keys are those of the file, 0 where it is damaged and they are those of before",
            registry=self.registry,
        )
        gauge.set_function(is_readable)

    def show_bounds(self, questions: int, tokens: int) -> None:
        """Show how many questions and tokens are admitted at most."""
        self.queue_limit.set(questions)
        self.queue_tokens_limit.set(tokens)

    def show_readiness(self, is_ready: Callable[[], bool]) -> None:
        """Ask at every scrape whether the replica is ready."""
        self.ready.set_function(is_ready)

    def show_sequential(self, model: str, version: int, test: SequentialTest, log_evidence: float, alarm: bool) -> None:
        """Show a sequential test as it stands in the ledger: the logarithm of its evidence, and whether it alarms."""
        self.sequential_log_evidence.labels(model, str(version), test).set(log_evidence)
        self.sequential_alarm.labels(model, str(version), test).set(alarm)

    def observe_batch(self, questions: int, tokens: int) -> None:
        """Count a batch."""
        self.batch_size.observe(questions)
        self.batch_tokens.observe(tokens)

    def count_prediction(self, record: PredictionRecord) -> None:
        """Count an answer as it is served."""
        self._predictions.count(record)

    def count_label(self, record: PredictionRecord, *, correct: bool, labelled_ms: int) -> None:
        """Count a label that the ledger has taken at this Unix millisecond, with what was served."""
        self._labels.count(record, correct=correct, labelled_ms=labelled_ms)

    def _show_build(self) -> None:
        build = Info("uq4ct_build", "Versions of the service and of its Python", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})

    def _define_requests(self) -> None:
        self.ready = Gauge("uq4ct_ready", "1 while /health/ready says 200", registry=self.registry)
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
            "Questions that got no answer, by reason; a batch refused before its questions were read is one",
            ["reason"],
            registry=self.registry,
        )
        for reason in REJECTIONS:
            self.rejected.labels(reason)

    def _define_queue(self) -> None:
        def gauge(name: str, description: str) -> Gauge:
            return Gauge(f"uq4ct_queue_{name}", description, registry=self.registry)

        self.queue_depth = gauge("depth", "Questions waiting for a forward")
        self.queue_tokens = gauge("tokens", "Tokens waiting for a forward, once for each pass")
        self.queue_limit = gauge("limit", "Questions that are admitted at most, those in a forward included")
        self.queue_tokens_limit = gauge("tokens_limit", "Tokens that are admitted at most, those in a forward included")

    def _define_forwards(self) -> None:
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
        self.batch_size = Histogram(
            "uq4ct_batch_size", "Questions of a forward", buckets=_COUNTS, registry=self.registry
        )
        self.batch_tokens = Histogram(
            "uq4ct_batch_tokens",
            "Tokens of a forward, passes included",
            buckets=_TOKENS,
            registry=self.registry,
        )

    def _define_ledger(self) -> None:
        self.ledger_unlogged = Counter(
            "uq4ct_ledger_unlogged_total", "Answers that the ledger does not have", registry=self.registry
        )
        self.ledger_buffer_depth = Gauge(
            "uq4ct_ledger_buffer_depth", "Answers that wait to be written to the ledger", registry=self.registry
        )

    def _define_models(self) -> None:
        self.model_loaded = Gauge("uq4ct_model_loaded", "1 for a loaded adapter", MODEL, registry=self.registry)
        self.sequential_log_evidence = Gauge(
            "uq4ct_sequential_log_evidence",
            "Natural logarithm of the evidence of a sequential test against the version",
            [*MODEL, "test"],
            registry=self.registry,
        )
        self.sequential_alarm = Gauge(
            "uq4ct_sequential_alarm",
            "1 once the evidence has passed its bound",
            [*MODEL, "test"],
            registry=self.registry,
        )
