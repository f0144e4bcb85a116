"""The service's metrics, on one registry that is passed in; counters, histograms and states add up across replicas."""

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
from uq4ct.service.telemetry.recent import RecentRequests
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
    "model_evicted",
)
CLOSINGS = (
    "malformed_request",
    "too_slow",
    "target_too_long",
    "head_too_large",
    "unsupported_request",
    "unsupported_version",
    "too_many_connections",
    "evicted",
    "idle",
    "stalled",
)
SequentialTest = Literal["overconfident", "underconfident", "error_rate"]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


class Metrics:
    """Everything that `/metrics` shows, under the prefix `uq4ct_`; `recent` is for `/status`.

    A model version has 197 series for each task, 43 more beside them, and keeps them when it is unloaded, because
    counters must never decrease.
    """

    def __init__(self, registry: CollectorRegistry, tasks: Sequence[str] = ()) -> None:
        self.registry = registry
        self._tasks = (*tasks, OTHER_TASK)
        self.recent = RecentRequests()
        self._show_build()
        self._define_requests()
        self._define_connections()
        self._define_queue()
        self._define_forwards()
        self._define_ledger()
        self._define_models()
        self._predictions = PredictionMetrics(registry)
        self._labels = LabelMetrics(registry)
        self._reference = ReferenceMetrics(registry)
        self.feedback = self._labels.feedback

    def announce_model(self, manifest: Manifest) -> None:
        """Export the loaded adapter with every counter at zero: the first increment of an unseen series is lost."""
        self.model_loaded.labels(manifest.name, str(manifest.version)).set(1)
        self.model_production.labels(manifest.name, str(manifest.version))  # 0 if it was not pointed to
        for task in self._tasks:
            self._predictions.announce(manifest.name, manifest.version, task)
            self._labels.announce(manifest.name, manifest.version, task)
        self._reference.show(manifest)

    def retire_model(self, manifest: Manifest) -> None:
        """Show that the adapter is no longer loaded; its counters stay, because they must never decrease."""
        self.model_loaded.labels(manifest.name, str(manifest.version)).set(0)

    def show_production(self, manifest: Manifest) -> None:
        """Export that the name alone means this version now, and no other one."""
        before = self._production.get(manifest.name)
        if before is not None:
            self.model_production.labels(manifest.name, before).set(0)
        self._production[manifest.name] = str(manifest.version)
        self.model_production.labels(manifest.name, str(manifest.version)).set(1)

    def watch_keys_file(self, is_readable: Callable[[], bool]) -> None:
        """Export whether the file of keys can be read, checked at each scrape; call it only if there is such a file."""
        gauge = Gauge(
            "uq4ct_keys_file_readable",
            "1 if the file of keys can be read, 0 if not, while the last valid keys remain in force",
            registry=self.registry,
        )
        gauge.set_function(is_readable)

    def show_bounds(self, questions: int, tokens: int) -> None:
        """Export the limits on admitted questions and tokens."""
        self.queue_limit.set(questions)
        self.queue_tokens_limit.set(tokens)

    def show_readiness(self, is_ready: Callable[[], bool]) -> None:
        """Export whether the replica is ready, checked at each scrape."""
        self.ready.set_function(is_ready)

    def show_sequential(self, model: str, version: int, test: SequentialTest, log_evidence: float, alarm: bool) -> None:
        """Export a sequential test of the ledger: the logarithm of its evidence, and whether it raised an alarm."""
        self.sequential_log_evidence.labels(model, str(version), test).set(log_evidence)
        self.sequential_alarm.labels(model, str(version), test).set(alarm)

    def observe_batch(self, questions: int, tokens: int) -> None:
        """Count a batch."""
        self.batch_size.observe(questions)
        self.batch_tokens.observe(tokens)

    def count_prediction(self, record: PredictionRecord) -> None:
        """Count a served answer."""
        self._predictions.count(record)

    def count_label(self, record: PredictionRecord, *, correct: bool, labelled_ms: int) -> None:
        """Count a label stored at `labelled_ms` (Unix milliseconds) with the served answer."""
        self._labels.count(record, correct=correct, labelled_ms=labelled_ms)

    def _show_build(self) -> None:
        build = Info("uq4ct_build", "Versions of the service and of Python", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})

    def _define_requests(self) -> None:
        self.ready = Gauge("uq4ct_ready", "1 while /health/ready returns 200", registry=self.registry)
        self.requests = Counter(
            "uq4ct_requests_total",
            "Requests by route template and status code",
            ["route", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "uq4ct_request_duration_seconds",
            "Time from the first byte of a request to the last byte of its response",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rejected = Counter(
            "uq4ct_rejected_total",
            "Questions without an answer, by reason; a batch rejected before it is read counts as one",
            ["reason"],
            registry=self.registry,
        )
        for reason in REJECTIONS:
            self.rejected.labels(reason)

    def _define_connections(self) -> None:
        self.connections = Gauge("uq4ct_connections", "Open connections", registry=self.registry)
        self.connections_closed = Counter(
            "uq4ct_connections_closed_total",
            "Connections that the service closed, by reason",
            ["reason"],
            registry=self.registry,
        )
        for reason in CLOSINGS:
            self.connections_closed.labels(reason)

    def _define_queue(self) -> None:
        def gauge(name: str, description: str) -> Gauge:
            return Gauge(f"uq4ct_queue_{name}", description, registry=self.registry)

        self.queue_depth = gauge("depth", "Questions waiting for a batch")
        self.queue_tokens = gauge("tokens", "Tokens waiting for a batch, counted once per pass")
        self.queue_limit = gauge("limit", "Limit on admitted questions, including those in a batch")
        self.queue_tokens_limit = gauge("tokens_limit", "Limit on admitted tokens, including those in a batch")

    def _define_forwards(self) -> None:
        stages = Histogram(
            "uq4ct_stage_duration_seconds",
            "Time of each stage: tokenize or queue a question, run a batch (forward), write a batch to the ledger",
            ["stage"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokenize_seconds = stages.labels("tokenize")
        self.queue_seconds = stages.labels("queue")
        self.forward_seconds = stages.labels("forward")
        self.ledger_seconds = stages.labels("ledger")
        self.model_threads = Gauge("uq4ct_model_threads", "CPU threads of the last forward", registry=self.registry)
        self.batch_size = Histogram("uq4ct_batch_size", "Questions in a batch", buckets=_COUNTS, registry=self.registry)
        self.batch_tokens = Histogram(
            "uq4ct_batch_tokens",
            "Tokens in a batch, counted once per pass",
            buckets=_TOKENS,
            registry=self.registry,
        )

    def _define_ledger(self) -> None:
        self.ledger_unlogged = Counter(
            "uq4ct_ledger_unlogged_total", "Answers missing from the ledger", registry=self.registry
        )
        self.ledger_buffer_depth = Gauge(
            "uq4ct_ledger_buffer_depth", "Answers waiting to be written to the ledger", registry=self.registry
        )

    def _define_models(self) -> None:
        self.model_loaded = Gauge("uq4ct_model_loaded", "1 for a loaded adapter", MODEL, registry=self.registry)
        self.model_production = Gauge(
            "uq4ct_model_production",
            "1 for the version that the name alone means on this replica, 0 for its other versions",
            MODEL,
            registry=self.registry,
        )
        self._production: dict[str, str] = {}  # version by name
        self.adapter_evictions = Counter(
            "uq4ct_adapter_evictions_total",
            "Adapters evicted from memory to make room for another",
            registry=self.registry,
        )
        self.adapter_reloads = Counter(
            "uq4ct_adapter_reloads_total",
            "Loads of a version that was evicted in the 10 minutes before",
            registry=self.registry,
        )
        self.sequential_log_evidence = Gauge(
            "uq4ct_sequential_log_evidence",
            "Natural logarithm of a sequential test's evidence against the version",
            [*MODEL, "test"],
            registry=self.registry,
        )
        self.sequential_alarm = Gauge(
            "uq4ct_sequential_alarm",
            "1 once the test's evidence has reached its threshold",
            [*MODEL, "test"],
            registry=self.registry,
        )
