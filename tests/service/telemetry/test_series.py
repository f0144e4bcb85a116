"""The series of a model version: their number, zero on load, and sums against hand calculations."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.samples import Sample

from tests.service.served import CONFIDENCE, FEU, REFERENCE, answer, manifest_of
from uq4ct.model_store.decisions import Decisions
from uq4ct.model_store.storage.manifest import ReferenceHistograms
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.telemetry.series import BIN_LABELS, DECISIONS

TASKS = ("triage", "other")
UNDECIDED = Decisions(sets=None, abstention=None, tested=None)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry(), ("triage",))


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of one series of toy@3."""
    return metrics.registry.get_sample_value(f"uq4ct_{name}", {"model": "toy", "version": "3", **labels})


def families_of_models(metrics: Metrics) -> Iterator[Metric]:
    return (family for family in metrics.registry.collect() if any("model" in one.labels for one in family.samples))


def series_of_models(metrics: Metrics) -> list[Sample]:
    """Return the series that a scrape stores for models; the service does not export `_created` series."""
    samples = [sample for family in families_of_models(metrics) for sample in family.samples]
    return [sample for sample in samples if not sample.name.endswith("_created")]


@pytest.mark.parametrize("task", TASKS)
def test_every_cell_is_there_at_zero_on_load(metrics: Metrics, task: str) -> None:
    metrics.announce_model(manifest_of())
    for index in BIN_LABELS:
        assert value(metrics, "predictions_by_feu_total", task=task, bin=index) == 0
        for decision in DECISIONS:
            cell = {"task": task, "bin": index, "decision": decision}
            assert value(metrics, "predictions_by_confidence_total", **cell) == 0
            for name in ("predictions", "confidence", "correct", "variance"):
                assert value(metrics, f"labelled_{name}_total", **cell) == 0
    for name in ("labelled_top_label_brier_total", "labelled_z_variance_total"):
        assert value(metrics, name, task=task) == 0
    for name in ("prediction_confidence", "prediction_set_size", "label_delay_seconds"):
        assert value(metrics, f"{name}_sum", task=task) == value(metrics, f"{name}_count", task=task) == 0


def test_a_version_has_as_many_series_as_is_said(metrics: Metrics) -> None:
    """By confidence 15 x 2, by FEU 15, confidence 2, sets 14, labelled 4 x 15 x 2, Brier and Z 2, delay 14: 197 a task.

    Beside them: 1 loaded, 1 in production, 2 x 15 + 5 of the reference, 2 x 3 of the sequential tests.
    """
    metrics.announce_model(manifest_of())
    for test in ("overconfident", "underconfident", "error_rate"):
        metrics.show_sequential("toy", 3, test, 0.0, False)
    series = series_of_models(metrics)
    assert len(series) == 197 * len(TASKS) + 43
    assert "has 197 series for each task, 43 more" in (Metrics.__doc__ or "")
    metrics.count_prediction(answer(0.4, prediction_set=("A",)))
    metrics.count_label(answer(0.4), correct=True, labelled_ms=0)
    assert len(series_of_models(metrics)) == len(series)


def test_series_have_no_labels_but_these(metrics: Metrics) -> None:
    metrics.announce_model(manifest_of())
    metrics.show_sequential("toy", 3, "error_rate", 0.0, False)
    named = {label for sample in series_of_models(metrics) for label in sample.labels}
    assert named == {"model", "version", "task", "bin", "decision", "test", "le"}


def test_an_answer_is_counted_by_task_bin_and_decision(metrics: Metrics) -> None:
    metrics.count_prediction(answer(0.4, task="triage", abstain=True, feu=1.0000001, prediction_set=("A", "C")))
    metrics.count_prediction(answer(0.4, task="triage", feu=None, prediction_set=None))
    cell = {"task": "triage", "bin": "06"}  # 0.4 x 15 = 6, and bins are closed on the left
    for decision in DECISIONS:
        assert value(metrics, "predictions_by_confidence_total", **cell, decision=decision) == 1
    assert value(metrics, "predictions_by_feu_total", task="triage", bin="14") == 1
    assert sum(value(metrics, "predictions_by_feu_total", task="triage", bin=b) or 0 for b in BIN_LABELS) == 1
    assert value(metrics, "prediction_set_size_count", task="triage") == 1
    assert value(metrics, "prediction_set_size_sum", task="triage") == 2
    assert value(metrics, "prediction_set_size_bucket", task="triage", le="1.0") == 0
    assert value(metrics, "prediction_set_size_bucket", task="triage", le="2.0") == 1
    assert value(metrics, "prediction_confidence_sum", task="triage") == pytest.approx(0.8, rel=1e-12)


def test_labels_add_up_to_these_sums(metrics: Metrics) -> None:
    """Two answers with p = 3/5, one right and one wrong, in bin 9; one right with p = 9/10 in bin 13."""
    for p, correct in ((0.6, True), (0.6, False), (0.9, True)):
        metrics.count_label(answer(p), correct=correct, labelled_ms=0)
    cell = {"task": "other", "bin": "09", "decision": "answer"}
    expected = {"predictions": 2, "confidence": 6 / 5, "correct": 1, "variance": 2 * 6 / 25}
    for name, number in expected.items():
        assert value(metrics, f"labelled_{name}_total", **cell) == pytest.approx(number, rel=1e-12)
    brier = 4 / 25 + 9 / 25 + 1 / 100
    assert value(metrics, "labelled_top_label_brier_total", task="other") == pytest.approx(brier, rel=1e-12)
    z_variance = 2 * (1 / 25) * (6 / 25) + (16 / 25) * (9 / 100)
    assert value(metrics, "labelled_z_variance_total", task="other") == pytest.approx(z_variance, rel=1e-12)


@pytest.mark.parametrize(("after_ms", "seconds"), [(90_500, 90.5), (-3_000, 0)])
def test_the_delay_of_a_label_is_in_seconds_and_never_negative(metrics: Metrics, after_ms: int, seconds: float) -> None:
    record = answer(0.6)
    metrics.count_label(record, correct=True, labelled_ms=record.created_ms + after_ms)
    assert value(metrics, "label_delay_seconds_sum", task="other") == seconds
    assert value(metrics, "label_delay_seconds_count", task="other") == 1


def test_labels_of_several_threads_are_all_counted() -> None:
    """The first label creates the series; several rounds make a race likely to show."""
    record = answer(0.6)
    for _ in range(20):
        metrics = Metrics(CollectorRegistry())
        with ThreadPoolExecutor(4) as threads:
            for _ in range(40):
                threads.submit(metrics.count_label, record, correct=True, labelled_ms=0)
        cell = {"task": "other", "bin": "09", "decision": "answer"}
        assert value(metrics, "labelled_predictions_total", **cell) == 40


def test_the_reference_is_shown_as_shares(metrics: Metrics) -> None:
    metrics.announce_model(manifest_of())
    shares = [value(metrics, "reference_confidence_share", bin=index) for index in BIN_LABELS]
    assert shares == [count / 20 for count in CONFIDENCE]
    assert [value(metrics, "reference_feu_share", bin=index) for index in BIN_LABELS] == [count / 20 for count in FEU]
    assert value(metrics, "reference_questions") == 20
    assert value(metrics, "reference_accuracy") == 0.65
    assert value(metrics, "reference_ece") == 0.1
    assert value(metrics, "reference_abstention_share") == pytest.approx(0.3, rel=1e-12)  # 1 - 0.7 answered
    assert value(metrics, "reference_abstention_standard_error") == pytest.approx((0.7 * 0.3 / 40) ** 0.5)


def test_what_a_manifest_does_not_state_has_no_series(metrics: Metrics) -> None:
    without_feu = REFERENCE.model_copy(update={"feu": None})
    metrics.announce_model(manifest_of(decisions=UNDECIDED, reference_histograms=without_feu))
    assert value(metrics, "reference_abstention_share") is None
    assert value(metrics, "reference_feu_share", bin="00") is None
    assert value(metrics, "reference_confidence_share", bin="14") == 0.1


def test_a_reference_in_other_bins_is_not_compared(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    three = ReferenceHistograms(bins=3, questions=20, confidence=(2, 6, 12), feu=None, accuracy=0.65, ece=0.1)
    with caplog.at_level(logging.WARNING):
        metrics.announce_model(manifest_of(reference_histograms=three))
    assert caplog.messages == ["reference histograms not comparable"]
    assert value(metrics, "reference_confidence_share", bin="00") is None
    assert value(metrics, "reference_accuracy") == 0.65


def test_an_unloaded_version_keeps_its_counters_and_loaded_again_counts_on(metrics: Metrics) -> None:
    manifest = manifest_of()
    cell = {"task": "other", "bin": "09", "decision": "answer"}
    metrics.announce_model(manifest)
    metrics.count_prediction(answer(0.6))
    metrics.retire_model(manifest)
    assert value(metrics, "model_loaded") == 0
    assert value(metrics, "predictions_by_confidence_total", **cell) == 1
    metrics.announce_model(manifest)
    metrics.count_prediction(answer(0.6))
    assert value(metrics, "model_loaded") == 1
    assert value(metrics, "predictions_by_confidence_total", **cell) == 2


def test_a_sequential_test_is_shown_as_it_stands(metrics: Metrics) -> None:
    metrics.show_sequential("toy", 3, "overconfident", -1.5, False)
    metrics.show_sequential("toy", 3, "underconfident", 4.2, True)
    assert value(metrics, "sequential_log_evidence", test="overconfident") == -1.5
    assert value(metrics, "sequential_alarm", test="overconfident") == 0
    assert value(metrics, "sequential_log_evidence", test="underconfident") == 4.2
    assert value(metrics, "sequential_alarm", test="underconfident") == 1
