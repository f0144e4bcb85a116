"""A store that was written when its format was new stays readable to the last bit and gives the same answers."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from tests.golden_store import DECISIONS, GOLDEN, QUESTIONS, REPORT, answers, stored_tensors
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.storage.checkpoint import StoredAdapter
from uq4ct.model_store.storage.entries import ListedVersion
from uq4ct.model_store.storage.manifest import FORMAT_VERSION, Interval, ReferenceCurve
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.storage.summaries import Summary

FORMAT_1 = GOLDEN / "format_1"
VERSION = FORMAT_1 / "store" / "tiny" / "1"
WRITTEN = {
    "adapter.safetensors": "560409586528dbc5e425ba38a7fcc80f9d802603c0ec3e4dd10bc957a9fbb86c",
    "manifest.json": "e36461830fb3bfe85aa6baa9070e43bc17dd1b5f016df9bd64badcc635a5aa72",
    "manifest.sha256": "03a418c19a2a52a78606f5b596086e86933688cec81ecf94bd4003cbef83671c",
    "report.md": "54a1c2bca83cb516d8e6d5de3b66059cb28b04115cd83a304fffcd48e0595199",
}


@pytest.fixture(scope="module")
def stored() -> StoredAdapter:
    return Registry(FORMAT_1 / "store").load("tiny@1")


def test_every_format_has_a_golden_store() -> None:
    assert sorted(path.name for path in GOLDEN.glob("format_*")) == sorted(
        f"format_{number}" for number in range(1, FORMAT_VERSION + 1)
    )


def test_the_files_are_those_that_were_written_once() -> None:
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VERSION.iterdir()} == WRITTEN
    assert (VERSION / "report.md").read_bytes() == REPORT


def test_names_and_aliases_are_read(stored: StoredAdapter) -> None:
    registry = Registry(FORMAT_1 / "store")
    assert registry.resolve("tiny") == registry.resolve("tiny@canary") == ("tiny", 1)
    assert registry.survey() == [ListedVersion("tiny", 1, ("canary", "production"), Summary.of(stored.manifest))]


def test_the_record_is_written_again_as_the_same_bytes(stored: StoredAdapter) -> None:
    """No field is lost, renamed, rounded or given another default."""
    assert stored.manifest.to_json() == (VERSION / "manifest.json").read_bytes()


def test_the_tensors_are_those_of_an_adapter_of_this_shape(stored: StoredAdapter) -> None:
    base = load_base_model(str(FORMAT_1 / "base"), device="cpu", dtype="float32")
    expected = stored_tensors(add_adapter(base, stored.manifest.adapter, stored.manifest.scoring))
    assert stored.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        found = stored.tensors[name]
        assert (found.dtype, found.shape) == (torch.float32, tensor.shape), name
        assert torch.equal(found, tensor), name


def test_what_fixes_the_answers_is_read(stored: StoredAdapter) -> None:
    manifest = stored.manifest
    assert (manifest.reference, manifest.method, manifest.dtype) == ("tiny@1", "uq4ct", "float32")
    assert (manifest.base.name, manifest.base.revision, manifest.base.model_type) == ("tiny-base", "main-1", "llama")
    assert manifest.adapter == AdapterConfig(
        experts=4,
        top_k=2,
        rank=2,
        alpha=3.0,
        dropout=0.125,
        mixing="renormalised",
        placement="layer",
        feu_tokens="prompt_and_options",
        targets=("q_proj", "down_proj"),
    )
    assert manifest.scoring.model_dump() == {"kind": "cloze", "reduction": "mean", "max_tokens": 96}
    assert manifest.posterior.model_dump() == {"kind": "gaussian", "samples": 3, "seed": 7}
    assert manifest.calibration.model_dump() == {
        "kind": "feu_temperature",
        "level": 0.125,
        "feu_slope": 1.5,
        "options_slope": -0.25,
        "feu_center": 0.625,
        "questions": 50,
        "nll_before": 0.875,
        "nll_after": 0.8125,
        "at_bound": False,
    }
    assert manifest.decisions == DECISIONS


def test_what_was_measured_is_read(stored: StoredAdapter) -> None:
    manifest = stored.manifest
    assert manifest.scores_before is not None
    assert manifest.scores_untrained is not None
    assert (manifest.scores_before.nll, manifest.scores_after.nll, manifest.scores_untrained.accuracy) == (
        0.9,
        0.81,
        0.25,
    )
    assert manifest.scores_after.accuracy_interval == Interval(low=0.55, high=0.85)
    assert manifest.scores_after.rms_calibration_error == 0.04
    assert (manifest.scores_after.mean_feu, manifest.scores_untrained.mean_feu) == (1.0000001, None)
    assert (manifest.scores_after.auroc_epistemic, manifest.scores_after.auroc_error_score) == (0.5625, 0.7)
    assert (manifest.reference_histograms.confidence, manifest.reference_histograms.feu) == ((2, 6, 12), (0, 11, 9))
    assert manifest.reference_curve == ReferenceCurve(
        questions=20, thresholds=(0.0, 0.5, 1.0), answered=(20, 18, 3), wrong=(7, 5, 0)
    )
    assert manifest.batch_company.largest_probability_change == 1e-7
    assert manifest.provenance.recipe == {"note": "größer", "weight_decay": 0.30000000000000004, "resume": None}


def test_it_answers_as_it_did() -> None:
    """The meaning of tensors, seeds, posteriors and calibrations has not changed."""
    then, now = json.loads((FORMAT_1 / "answers.json").read_text()), answers(FORMAT_1)
    assert len(then) == len(now) == len(QUESTIONS)
    for before, after in zip(then, now, strict=True):
        assert after.keys() >= before.keys()  # a later answer may say more
        assert after["probabilities"] == pytest.approx(before.pop("probabilities"), abs=1e-5)
        assert {name: after[name] for name in before} == pytest.approx(before, abs=1e-5)
