"""The text part of multimodal checkpoints: it gives the whole model's logits, and the other parts are freed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.model_store.base.families import FAMILY
from tests.tiny_base import TINY
from uq4ct.model_store.base.identity import LayoutName
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.questions import Question
from uq4ct.model_store.token_batch import collate

_SIZES = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
_VISION = {**_SIZES, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
CASES: list[tuple[str, LayoutName, dict[str, Any], dict[str, Any]]] = [
    ("gemma3", "packed", FAMILY["gemma3_text"].changes, {"vision_config": _VISION}),
    (
        "gemma4",
        "packed",
        FAMILY["gemma4_text"].changes,
        {"vision_config": {**_SIZES, "num_hidden_layers": 1}, "audio_config": None},
    ),
    ("mistral3", "packed", {"model_type": "mistral"}, {"vision_config": {"model_type": "pixtral", **_VISION}}),
    (
        "qwen3_5",
        "rows",
        FAMILY["qwen3_5_text"].changes,
        {
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 24,
                "depth": 1,
                "num_heads": 2,
                "out_hidden_size": 32,
            }
        },
    ),
]


def save_multimodal(
    folder: Path, family: str, text: dict[str, Any], others: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    config_class: Any = CONFIG_MAPPING[family]
    config = config_class(text_config={**TINY, "vocab_size": len(tokenizer), **text}, **others)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForImageTextToText.from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize(("family", "layout", "text", "others"), CASES, ids=[case[0] for case in CASES])
def test_the_text_part_is_a_base_model(
    family: str,
    layout: LayoutName,
    text: dict[str, Any],
    others: dict[str, Any],
    tmp_path: Path,
    tiny_tokenizer: PreTrainedTokenizerFast,
    make_model: Any,
    questions: list[Question],
) -> None:
    whole = save_multimodal(tmp_path, family, text, others, tiny_tokenizer)
    base = load_base_model(str(tmp_path), device="cpu", dtype="float32")
    assert (base.layout, base.identity.model_type) == (layout, family)
    tokens = torch.tensor([tiny_tokenizer("What colour is the sky?")["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(base.model(tokens).logits, whole(tokens).logits, rtol=0, atol=1e-5)
    assert not [name for name, _ in base.model.named_parameters() if "vision" in name or "visual" in name]
    model = make_model(base, training=True)
    output = model(collate([model.scorer.encode(question) for question in questions]))
    (output.logits.logsumexp(dim=1).sum() + output.feu.sum()).backward()
    assert all(parameter.grad is not None for name, parameter in model.adapter_tensors().items() if "log_" not in name)
