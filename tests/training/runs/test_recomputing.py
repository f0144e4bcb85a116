"""Recomputed activations and forwards of few tokens: less memory, the same losses and gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tests.model_store.base.families import FAMILY
from tests.training.conftest import MakeConfig
from tests.training.whole_runs import losses_of
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig, LetterConfig
from uq4ct.model_store.token_batch import collate
from uq4ct.training.run_config import ConfigError
from uq4ct.training.runs.recomputing import recompute_activations
from uq4ct.training.runs.train import train_run

BLOCK = {"placement": "block", "mixing": "renormalised"}


@pytest.mark.parametrize("family", ["llama", "qwen3_5_text", "olmo2"])
@pytest.mark.parametrize("adapter", [{}, BLOCK], ids=["layer", "block"])
@pytest.mark.parametrize("scoring", [ClozeConfig(), LetterConfig()], ids=lambda scoring: scoring.kind)
def test_gradients_are_those_of_the_plain_model(
    family: str,
    adapter: dict[str, Any],
    scoring: Any,
    tmp_path: Path,
    tiny_tokenizer: PreTrainedTokenizerFast,
    make_model: Any,
    questions: list[Question],
) -> None:
    """Those of FEU, too, whose routing leaves the layers beside their outputs; dropout draws the same numbers."""
    base = load_base_model(str(FAMILY[family].save(tmp_path, tiny_tokenizer)), device="cpu", dtype="float32")
    model = make_model(base, scoring, training=True, dropout=0.2, **adapter)
    batch = collate([model.scorer.encode(question) for question in questions])

    def step() -> tuple[list[Tensor], int]:
        kept = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal kept
            kept += tensor.nbytes
            return tensor

        torch.manual_seed(3)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            output = model(batch)
            total = output.logits.logsumexp(dim=1).sum() + output.feu.sum()
        parameters = [parameter for name, parameter in model.adapter_tensors().items() if "log_" not in name]
        return list(torch.autograd.grad(total, parameters)), kept

    plain, all_kept = step()
    recompute_activations(model)
    recomputed, few_kept = step()
    for one, other in zip(plain, recomputed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert few_kept < all_kept / 2


def test_a_run_with_less_memory_is_the_same_run(tmp_path: Path, make_config: MakeConfig, quiet: Console) -> None:
    """LoRA's loss is a sum over questions, so neither change is more than rounding."""
    for name, training in (
        ("plain", {}),
        ("checkpointing", {"checkpointing": True}),
        ("tokens", {"forward_tokens": 60}),
    ):
        train_run(make_config("lora", adapter={"dropout": 0.0}, training=training), tmp_path / name, quiet)
    plain = losses_of(tmp_path / "plain")
    assert losses_of(tmp_path / "checkpointing") == pytest.approx(plain, abs=1e-4)
    assert losses_of(tmp_path / "tokens") == pytest.approx(plain, abs=1e-4)


def test_layers_that_cannot_be_recomputed_are_an_error(tiny_base: Any, make_model: Any) -> None:
    model = make_model(tiny_base)
    decoder = tiny_base.model.get_decoder()
    decoder.layers[1] = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match=r"training\.checkpointing: Linear does not support it"):
        recompute_activations(model)
    assert not decoder.layers[0].gradient_checkpointing
