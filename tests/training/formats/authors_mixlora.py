"""MixLoRA checkpoints in the package that its authors publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mixlora import MixLoraModelForCausalLM


def load_published(folder: Path) -> Any:
    """The model of the authors' package, ready to answer."""
    model, _ = MixLoraModelForCausalLM.from_pretrained(str(folder))
    model.eval()
    for layer in model.model.layers:
        # The package keeps its experts in a plain dict, where eval() does not reach them: their dropout stays on.
        for expert in layer.mlp.mixlora_moes["default"].experts_.values():
            expert.eval()
    return model
