"""The configuration of a base model: what is not supported is refused by name, before any weights are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from uq4ct.model_store.base.errors import BaseModelError

ROPE_TYPES = ("default", *ROPE_INIT_FUNCTIONS)
_QUANTIZATION = ("quantization_config", "compression_config")
_ROPE = ("rope_parameters", "rope_scaling")


def read_model_type(name: str, folder: Path) -> str:
    """Return the family of the base model in a folder, after checking its configuration.

    Raises:
        BaseModelError: there is no readable config.json, or the family, a quantization or a kind of rotary embedding is
            not supported.
    """
    config = _read(name, folder)
    family = str(config["model_type"])
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and family not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise BaseModelError(
            f"base model {name!r} is of family {family!r}, which is not a causal language model of transformers "
            f"{transformers.__version__}"
        )
    for field in _QUANTIZATION:
        if config.get(field) is not None:
            raise BaseModelError(
                f"base model {name!r} is quantized ({field}: {_method(config[field])}), which is not supported: "
                "use its unquantized weights"
            )
    for kind in _rope_types(config):
        if kind not in ROPE_TYPES:
            raise BaseModelError(f"base model {name!r} has the rope type {kind!r}, not one of {', '.join(ROPE_TYPES)}")
    return family


def is_text_model(family: str) -> bool:
    """Whether transformers loads a model of the family as a causal language model, with or without other parts."""
    return family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _read(name: str, folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BaseModelError(f"base model {name!r} has no config.json that names its model_type: {error!r}") from error
    return config


def _method(quantization: Any) -> object:
    return quantization.get("quant_method", "unknown") if isinstance(quantization, Mapping) else quantization


def _rope_types(config: Mapping[str, Any]) -> Iterator[object]:
    """Yield the kinds of rotary embedding: one of the model, or one for each type of layer."""
    for field in _ROPE:
        section = config.get(field)
        if isinstance(section, Mapping):
            for one in (section, *(inner for inner in section.values() if isinstance(inner, Mapping))):
                yield one.get("rope_type", one.get("type", "default"))
