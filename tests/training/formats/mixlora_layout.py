"""Random adapters in MixLoRA's published format: adapter_config.json and adapter_model.bin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig

ATTENTION = ("q_proj", "v_proj")
BLOCK = ("gate_proj", "up_proj", "down_proj")


def published_config(base: str, **changes: Any) -> dict[str, Any]:
    """Return the fields that MoE-PEFT exports, with changes."""
    return {
        "bias": "none",
        "peft_type": "MIXLORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": 3,
        "lora_alpha": 5,
        "lora_dropout": 0.05,
        "target_modules": [*ATTENTION, *BLOCK],
        "routing_strategy": "mixlora",
        "num_experts": 4,
        "act_fn": "silu",
        "top_k": 2,
    } | changes


def random_tensors(config: dict[str, Any], base: str, seed: int = 0) -> dict[str, Tensor]:
    """Return random tensors by their published names, in the shapes of the configuration and the base model."""
    shape = AutoConfig.from_pretrained(base)
    generator = torch.Generator().manual_seed(seed)
    rank, hidden, width = config["r"], shape.hidden_size, shape.intermediate_size
    values = hidden // shape.num_attention_heads * shape.num_key_value_heads
    sizes = {
        "q_proj": (hidden, hidden),
        "v_proj": (hidden, values),
        "gate_proj": (hidden, width),
        "up_proj": (hidden, width),
        "down_proj": (width, hidden),
    }
    tensors: dict[str, Tensor] = {}

    def add(name: str, *size: int) -> None:
        tensors[name] = torch.randn(size, generator=generator) * 0.3

    for layer in range(shape.num_hidden_layers):
        add(f"mixlora.layers.{layer}.mlp.moe_gate.weight", config["num_experts"], hidden)
        for name, (inputs, outputs) in sizes.items():
            room = "self_attn" if name in ATTENTION else "mlp"
            experts = [f".experts.{n}" for n in range(config["num_experts"])] if room == "mlp" else [""]
            for expert in experts:
                add(f"mixlora.layers.{layer}.{room}.{name}{expert}.lora_A.weight", rank, inputs)
                add(f"mixlora.layers.{layer}.{room}.{name}{expert}.lora_B.weight", outputs, rank)
    return tensors


def write_published(folder: Path, base: str, **changes: Any) -> Path:
    """Write a checkpoint with random weights for a base model; make the folder if needed and return it."""
    config = published_config(base, **changes)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    torch.save(random_tensors(config, base), folder / "adapter_model.bin")
    return folder
