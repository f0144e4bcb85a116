"""MixLoRA checkpoints in its authors' package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mixlora import MixLoraModelForCausalLM


def load_published(folder: Path) -> Any:
    """Load a checkpoint with the authors' package, in evaluation mode."""
    model, _ = MixLoraModelForCausalLM.from_pretrained(str(folder))
    model.eval()
    for layer in model.model.layers:
        # The package stores its experts in a plain dict, which eval() does not reach: their dropout stays on.
        for expert in layer.mlp.mixlora_moes["default"].experts_.values():
            expert.eval()
    return model
