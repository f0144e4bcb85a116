"""Every family trains, is stored and served; every method trains on a base that needs a row for each option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from rich.console import Console
from transformers import PreTrainedTokenizerFast

from tests.benchmarks.served import running_service
from tests.model_store.base.families import EVERY_KIND, FAMILIES, FAMILY
from tests.training.conftest import MakeConfig
from tests.training.methods.asking import samples_of
from tests.training.methods.method_table import SETTINGS
from tests.training.publishing import publish_tiny_run
from tests.training.whole_runs import losses_of
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data.loading import load_splits
from uq4ct.training.methods import METHODS
from uq4ct.training.runs.load import load_run
from uq4ct.training.runs.train import train_run

CASES = [
    pytest.param(family, id=family.name, marks=[] if family.name in EVERY_KIND else [pytest.mark.slow])
    for family in FAMILIES
]


@pytest.mark.parametrize("family", CASES)
def test_a_family_is_trained_stored_and_loaded(
    family: Any, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, make_config: MakeConfig, quiet: Console
) -> None:
    """Two steps; the stored adapter gives the run's answers to the bit."""
    base = family.save(tmp_path / "base", tiny_tokenizer)
    training = {"epochs": 1, "batch_questions": 32}
    train_run(make_config(base={"name": str(base)}, training=training), tmp_path / "run", quiet)
    assert len(losses_of(tmp_path / "run")) == 2
    registry = Registry(tmp_path / "store")
    manifest = publish_tiny_run(tmp_path / "run", registry, quiet).manifest
    run = load_run(tmp_path / "run")
    test = list(load_splits(run.config.data)[0].test)[:8]
    trained = Predictor(run.model, run.result.posterior.build(run.tensors), manifest.calibration)
    stored = load_predictor(manifest.reference, registry.root, dtype="float32")
    expected = trained.answer([trained.encode(question) for question in test])
    assert stored.answer([stored.encode(question) for question in test]) == expected
    assert manifest.layout == family.layout
    assert all(answer.feu is not None and 0.5 <= answer.feu <= 1 for answer in expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3_text", "gemma4_text", "qwen3_5_text"])
def test_a_family_answers_over_http(
    name: str, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, make_config: MakeConfig, quiet: Console
) -> None:
    base = FAMILY[name].save(tmp_path / "base", tiny_tokenizer)
    training = {"epochs": 1, "batch_questions": 32}
    train_run(make_config(base={"name": str(base)}, training=training), tmp_path / "run", quiet)
    registry = Registry(tmp_path / "store")
    manifest = publish_tiny_run(tmp_path / "run", registry, quiet).manifest
    stored = load_predictor(manifest.reference, registry.root, dtype="float32")
    question = next(iter(load_splits(load_run(tmp_path / "run").config.data)[0].test))
    (expected,) = stored.answer([stored.encode(question)])
    with running_service(registry.root, DTYPE="float32") as service:
        body = {"question": question.text, "options": question.options}
        found = httpx2.post(f"{service.address}/predict", json=body, timeout=60).raise_for_status().json()
    assert [row["probability"] for row in found["probabilities"]] == pytest.approx(expected.probabilities, abs=1e-6)
    assert found["feu"] == pytest.approx(expected.feu, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_trains_on_a_recurrent_base(
    method: str, tmp_path: Path, tiny_tokenizer: PreTrainedTokenizerFast, make_config: MakeConfig, quiet: Console
) -> None:
    """A question gets the same logits alone and in company, whichever rows its options have."""
    base = FAMILY["qwen3_5_text"].save(tmp_path / "base", tiny_tokenizer)
    sections = {**SETTINGS.get(method, {}), "base": {"name": str(base)}}
    sections["training"] = {"epochs": 1, **sections.get("training", {})}
    train_run(make_config(method, **sections), tmp_path / "run", quiet)
    run = load_run(tmp_path / "run")
    questions = list(load_splits(run.config.data)[0].test)
    predictor = Predictor(run.model, run.result.posterior.build(run.tensors))
    alone, together = samples_of(predictor, questions, 1), samples_of(predictor, questions, 100_000)
    torch.testing.assert_close(together.logits, alone.logits, atol=2e-5, rtol=0)
