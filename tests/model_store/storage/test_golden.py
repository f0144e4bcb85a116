"""Stores written by earlier code, never rewritten: what was readable once stays readable, to the last bit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.manifest import FORMAT_VERSION, Decisions, Interval, ReferenceCurve
from uq4ct.model_store.storage.registry import Registry

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def stored() -> StoredAdapter:
    return Registry(GOLDEN / "format_1").load("tiny@1")


def test_every_format_has_a_golden_store() -> None:
    assert sorted(path.name for path in GOLDEN.glob("format_*")) == sorted(
        f"format_{number}" for number in range(1, FORMAT_VERSION + 1)
    )


def test_names_and_aliases_of_format_1_are_read() -> None:
    registry = Registry(GOLDEN / "format_1")
    assert registry.resolve("tiny") == registry.resolve("tiny@canary") == ("tiny", 1)
    assert [entry.aliases for entry in registry.list()] == [("canary", "production")]


def test_tensors_of_format_1_are_read(stored: StoredAdapter) -> None:
    expected = {
        "layers.0.q_proj.a": torch.tensor([[row * 3 / 8 + column / 8 for column in range(3)] for row in range(8)]),
        "layers.0.q_proj.b": torch.tensor([[1.5, -2.25], [float("inf"), -0.0]], dtype=torch.bfloat16),
        "layers.0.router": torch.tensor([0.1, 1 / 3]),
        "scale": torch.tensor(1.0625, dtype=torch.float16),
    }
    assert stored.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        found = stored.tensors[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape), name
        assert found.tolist() == tensor.tolist(), name
    assert torch.signbit(stored.tensors["layers.0.q_proj.b"][1, 1])


def test_what_fixes_the_answers_of_format_1_is_read(stored: StoredAdapter) -> None:
    manifest = stored.manifest
    assert (manifest.reference, manifest.method, manifest.dtype) == ("tiny@1", "uq4ct", "bfloat16")
    assert manifest.base.model_dump() == {
        "name": "tiny-base",
        "revision": "main-1",
        "digest": "sha256:" + "0123456789abcdef" * 4,
        "model_type": "llama",
    }
    adapter = manifest.adapter
    assert (adapter.experts, adapter.top_k, adapter.rank, adapter.alpha, adapter.dropout) == (4, 2, 2, 3.0, 0.125)
    assert (adapter.mixing, adapter.placement, adapter.feu_tokens) == ("renormalised", "layer", "prompt_and_options")
    assert adapter.targets == ("q_proj", "down_proj")
    assert manifest.scoring.model_dump() == {"kind": "cloze", "reduction": "sum", "max_tokens": 96}
    assert manifest.posterior.model_dump() == {"kind": "point"}
    assert manifest.calibration.model_dump() == {
        "kind": "temperature",
        "value": 1.25,
        "questions": 50,
        "nll_before": 0.875,
        "nll_after": 0.84375,
    }


def test_what_was_measured_for_format_1_is_read(stored: StoredAdapter) -> None:
    manifest = stored.manifest
    assert manifest.scores_before is not None
    assert manifest.scores_untrained is not None
    assert (manifest.scores_before.nll, manifest.scores_after.nll, manifest.scores_untrained.nll) == (
        0.875,
        0.8125,
        1.5,
    )
    assert manifest.scores_after.accuracy_interval == Interval(low=0.6875, high=0.8125)
    assert manifest.scores_after.debiased_calibration_error == -0.00125
    assert (manifest.scores_after.mean_feu, manifest.scores_untrained.mean_feu) == (0.75, None)
    assert manifest.reference_histograms.confidence == (0, 3, 7, 15, 25)
    assert manifest.reference_histograms.feu == (0, 0, 10, 30, 10)
    assert manifest.batch_company.largest_probability_change == 0.00390625


def test_where_format_1_comes_from_is_read(stored: StoredAdapter) -> None:
    provenance = stored.manifest.provenance
    assert provenance.recipe == {
        "method": "uq4ct",
        "learning_rate": 2e-4,
        "steps": 100,
        "note": "größer",
        "weight_decay": 0.30000000000000004,
        "betas": [0.9, 0.999],
        "resume": None,
    }
    assert (provenance.code_commit, provenance.seed, provenance.splits.train) == ("e1d91e9", 11, 1000)
    assert datetime(2026, 11, 22, tzinfo=UTC) < stored.manifest.created_at < datetime(2026, 11, 23, tzinfo=UTC)
    assert stored.attachments == {"report.md": "# Tiny\n\nConfidence größer als FEU.\n".encode()}


def test_format_1_abstained_from_nothing(stored: StoredAdapter) -> None:
    assert stored.manifest.decisions == Decisions(sets=None, abstention=None, tested=None)


def test_decisions_of_format_2_are_read() -> None:
    registry = Registry(GOLDEN / "format_2")
    assert registry.resolve("tiny") == registry.resolve("tiny@canary") == ("tiny", 1)
    second, first = registry.load("tiny@1"), Registry(GOLDEN / "format_1").load("tiny@1")
    assert second.manifest.decisions.model_dump() == {
        "sets": {"score": "aps", "coverage": 0.8, "max_set_size": 3, "scores": (0.125, 0.5, 0.5, 0.8125, 1.0)},
        "abstention": {
            "target": "coverage",
            "value": 0.7,
            "guarantee": 0.95,
            "threshold": 0.45,
            "questions": 50,
            "risk": 0.1,
            "risk_bound": 0.21875,
            "coverage": 0.84,
            "coverage_bound": 0.7265625,
        },
        "tested": {"set_coverage": 0.8125, "mean_set_size": 1.75, "answered": 0.8, "selective_risk": 0.125},
    }
    # All the rest is the store of format 1, written again.
    kept = {"decisions", "created_at", "files"}
    assert second.manifest.model_dump(exclude=kept) == first.manifest.model_dump(exclude=kept)
    assert second.manifest.adapter_digest == first.manifest.adapter_digest


def test_formats_before_3_counted_no_curve(stored: StoredAdapter) -> None:
    assert stored.manifest.reference_curve is None
    assert Registry(GOLDEN / "format_2").load("tiny@1").manifest.reference_curve is None


def test_the_curve_of_format_3_is_read() -> None:
    registry = Registry(GOLDEN / "format_3")
    assert registry.resolve("tiny") == registry.resolve("tiny@canary") == ("tiny", 1)
    third, second = registry.load("tiny@1"), Registry(GOLDEN / "format_2").load("tiny@1")
    assert third.manifest.reference_curve == ReferenceCurve(
        questions=50, thresholds=(0.0, 0.29, 0.57, 1.0), answered=(50, 47, 31, 2), wrong=(12, 10, 4, 0)
    )
    # All the rest is the store of format 2, written again.
    kept = {"reference_curve", "created_at", "files"}
    assert third.manifest.model_dump(exclude=kept) == second.manifest.model_dump(exclude=kept)
    assert third.manifest.adapter_digest == second.manifest.adapter_digest


def test_what_format_4_added_is_read() -> None:
    registry = Registry(GOLDEN / "format_4")
    assert registry.resolve("tiny") == registry.resolve("tiny@canary") == ("tiny", 1)
    fourth, third = registry.load("tiny@1"), Registry(GOLDEN / "format_3").load("tiny@1")
    assert fourth.manifest.posterior.model_dump() == {"kind": "dropout", "samples": 3, "share": 0.25, "seed": 7}
    assert fourth.manifest.calibration.model_dump() == {
        "kind": "feu_temperature",
        "questions": 50,
        "nll_before": 0.875,
        "nll_after": 0.8125,
        "level": 0.125,
        "feu_slope": 1.5,
        "options_slope": -0.25,
        "feu_center": 0.625,
    }
    scores = fourth.manifest.scores_after
    assert (scores.auroc_epistemic, scores.auroc_error_score) == (0.5625, 0.6875)
    assert fourth.tensors["posterior.layers.0.q_proj.std"].tolist() == [[0.5], [0.25]]
    # All the rest is the store of format 3, written again.
    kept = {"posterior", "calibration", "scores_after", "created_at", "files"}
    assert fourth.manifest.model_dump(exclude=kept) == third.manifest.model_dump(exclude=kept)
    assert fourth.manifest.scores_after.nll == third.manifest.scores_after.nll


def test_formats_before_4_had_no_score_of_errors() -> None:
    scores = Registry(GOLDEN / "format_3").load("tiny@1").manifest.scores_after
    assert (scores.auroc_epistemic, scores.auroc_error_score) == (None, None)
