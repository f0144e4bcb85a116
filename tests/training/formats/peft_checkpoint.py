"""LoRA checkpoints written by PEFT itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM


def write_with_peft(folder: Path, base_folder: Path, **settings: Any) -> PeftModel:
    """Let PEFT write a checkpoint of a model with random weights, and return the model."""
    fields = {"r": 3, "lora_alpha": 5, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj", "down_proj"]}
    config = LoraConfig(**{**fields, "task_type": "CAUSAL_LM", **settings})
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base_folder), config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(str(folder))
    return model.eval()
