"""Runs with experts of the whole feed-forward block: they learn, and the stored adapter answers like the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.training.conftest import MakeConfig
from tests.training.whole_runs import losses_of
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.evaluation.evaluated import open_run
from uq4ct.training.evaluation.publication import publish_run
from uq4ct.training.runs.train import train_run

BLOCK = {"placement": "block", "mixing": "renormalised"}


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mixlora", "uq4ct"])
def test_a_block_is_trained_published_and_answered(
    method: str, tmp_path: Path, make_config: MakeConfig, quiet: Console
) -> None:
    config = make_config(method, adapter=BLOCK, training={"epochs": 4})
    train_run(config, tmp_path / "run", quiet)
    losses = losses_of(tmp_path / "run")
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    registry = Registry(tmp_path / "store")
    manifest = publish_run(tmp_path / "run", registry, quiet, calibration="none").manifest
    assert manifest.adapter == config.adapter
    predictor = load_predictor(manifest.reference, registry.root, device="cpu", dtype="float32")
    candidate = open_run(tmp_path / "run", device=None, dtype=None)
    for question in candidate.splits.test[:4]:
        (served,) = predictor.answer([predictor.encode(question)])
        (raw,) = candidate.predictor.answer([candidate.predictor.encode(question)])
        assert served.probabilities == pytest.approx(raw.probabilities, abs=1e-6)
        assert served.feu == pytest.approx(raw.feu, abs=1e-6)
        assert served.feu is not None
        assert 0.5 <= served.feu <= 1  # 2 of 4 experts
