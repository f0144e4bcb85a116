"""Tiny random models of many families, with the settings that each of them needs besides the common ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from tests.tiny_base import save_tiny_base
from uq4ct.model_store.base.identity import LayoutName

_SLIDING = ["sliding_attention", "full_attention"]


@dataclass(frozen=True)
class Family:
    """A family by its `model_type`, how it reads questions, and whether adapters reach its feed-forward blocks."""

    name: str
    layout: LayoutName = "packed"
    changes: dict[str, Any] = field(default_factory=dict)
    feed_forward: bool = True

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
        """Save a tiny model of the family."""
        return save_tiny_base(folder, tokenizer=tokenizer, family=CONFIG_MAPPING[self.name], **self.changes)


_HEADS = {"head_dim": 8}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_expand": 2}
FAMILIES = (
    Family("llama"),
    Family("mistral"),
    Family("qwen2"),
    Family("qwen3", changes=_HEADS),
    Family("ministral", changes=_HEADS),
    Family("ministral3"),
    Family("smollm3"),
    Family("gemma", changes=_HEADS),
    Family("gemma3_text", changes={**_HEADS, "layer_types": _SLIDING}),
    Family("gemma4_text", changes={"vocab_size_per_layer_input": 420, "hidden_size_per_layer_input": 8}),
    Family("granite", changes={"logits_scaling": 2.0}),
    Family("cohere"),
    Family("cohere2", changes={"layer_types": _SLIDING}),
    Family("seed_oss", changes=_HEADS),
    Family("hunyuan_v1_dense", changes=_HEADS),
    Family("ernie4_5", changes=_HEADS),
    Family("helium", changes=_HEADS),
    Family("olmo"),
    Family("olmo2"),
    Family("olmo3", changes={"layer_types": _SLIDING}),
    Family("exaone4", changes={"layer_types": _SLIDING}),
    Family("phi3"),
    Family("glm", changes=_HEADS),
    Family("glm4", changes=_HEADS),
    Family("phi"),
    Family("starcoder2"),
    Family("arcee"),
    Family("apertus"),
    Family(
        "qwen3_moe",
        changes={**_HEADS, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
        feed_forward=False,
    ),
    Family("nemotron", "padded"),
    Family("stablelm", "padded"),
    Family("gemma2", "rows", {**_HEADS, "final_logit_softcapping": 2.0}),
    Family("gpt_oss", "rows", {**_HEADS, "num_local_experts": 4, "num_experts_per_tok": 2}, feed_forward=False),
    Family(
        "qwen3_5_text",
        "rows",
        {
            **_HEADS,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
    ),
    Family(
        "granitemoehybrid",
        "rows",
        {**_MAMBA, "layer_types": ["mamba", "attention"], "shared_intermediate_size": 48, "num_local_experts": 0},
    ),
    Family(
        "falcon_h1", "rows", {**_MAMBA, **_HEADS, "mamba_d_ssm": 64, "mamba_n_groups": 1, "lm_head_multiplier": 0.5}
    ),
    Family(
        "kimi_linear",
        "rows",
        {
            "layer_types": ["linear_attention", "full_attention"],
            "mlp_layer_types": ["dense", "dense"],
            "linear_head_dim": 8,
            "linear_num_heads": 4,
            "num_key_value_heads": 4,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 8,
        },
    ),
    Family("lfm2", "rows", {"layer_types": ["conv", "full_attention"]}),
    Family("lfm3", "rows", {"layer_types": ["conv", "full_attention"]}),
)
FAMILY = {family.name: family for family in FAMILIES}
EVERY_KIND = ("gemma3_text", "olmo2", "phi3", "nemotron", "qwen3_5_text")  # tested quickly; the others in slow tests
