"""Shared by the formats of other programs: a JSON configuration beside a file of named tensors."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import complaints

CONFIG_FILE = "adapter_config.json"
SAFETENSORS_FILE = "adapter_model.safetensors"
PICKLE_FILE = "adapter_model.bin"
OFF: tuple[object, ...] = (None, False, "none", [], {})


class FormatError(UserError, ValueError):
    """A foreign checkpoint that cannot be read, or that needs something that our adapters do not support."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A foreign checkpoint as stored: configuration, tensors in fp32, and the digest of the tensor file."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str


@dataclass(frozen=True, slots=True)
class ForeignAdapter:
    """A foreign adapter in our format: `tensors` by our stored names.

    `activation` is that of the feed-forward block it was trained with; None: the base model's own. `base` is the base
    model's name in the checkpoint, if there is one.
    """

    format: Literal["peft", "mixlora"]
    config: AdapterConfig
    tensors: dict[str, Tensor]
    digest: str
    base: str | None
    activation: str | None = None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder with `adapter_config.json` and `adapter_model.safetensors`, or `.bin` if there is none.

    Raises:
        FormatError: a file is missing or cannot be read, or a `.bin` contains anything but tensors.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{folder / CONFIG_FILE} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{folder / CONFIG_FILE} is not a JSON object")
    path = folder / SAFETENSORS_FILE
    if not path.is_file():
        path = folder / PICKLE_FILE
    if not path.is_file():
        raise FormatError(f"{folder} contains neither {SAFETENSORS_FILE} nor {PICKLE_FILE}")
    return Checkpoint(config, _read_tensors(path), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        # weights_only: a pickle could run code; this loads only tensors.
        tensors = (
            load_file(path)
            if path.name == SAFETENSORS_FILE
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise FormatError(f"{path} contains something other than named tensors")
    return {str(name): tensor.detach().float() for name, tensor in tensors.items()}


def refuse_others(config: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
    """Reject every field that is neither known nor switched off.

    Raises:
        FormatError: names the field and its value.
    """
    for field, value in config.items():
        if field not in known and value not in OFF:
            raise FormatError(f"{prefix}{field} is {value!r}, which our adapters do not support")


def check_task(config: Mapping[str, Any], others: Collection[str] = ()) -> None:
    """Reject adapters of anything but causal language models; `others` are further allowed task names.

    Raises:
        FormatError: names the task.
    """
    if config.get("task_type") not in (None, "CAUSAL_LM", *others):
        raise FormatError(
            f"task_type is {config['task_type']!r}: only adapters of causal language models are supported"
        )


def required(config: Mapping[str, Any], field: str) -> Any:
    """Return the value of a required field."""
    if field not in config:
        raise FormatError(f"{CONFIG_FILE} lacks the field {field}")
    return config[field]


def number(config: Mapping[str, Any], field: str) -> float:
    """Return the value of a required number."""
    value = required(config, field)
    if not isinstance(value, int | float):
        raise FormatError(f"{field} must be a number (got {value!r})")
    return value


def effective_alpha(config: Mapping[str, Any]) -> float:
    """Return alpha for our scale of alpha / r; rank-stabilised LoRA scales by alpha / sqrt(r) (Kalajdzievski 2023)."""
    alpha, rank = number(config, "lora_alpha"), number(config, "r")
    return alpha * rank**0.5 if config.get("use_rslora") else alpha


def take(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, int | None]) -> Tensor:
    """Remove a tensor from `tensors` and return it; None in `shape` allows any size.

    Raises:
        FormatError: it is missing or has another shape.
    """
    if name not in tensors:
        raise FormatError(f"the tensor {name} is missing")
    tensor = tensors.pop(name)
    if tensor.dim() != 2 or any(want not in (None, size) for want, size in zip(shape, tensor.shape, strict=True)):
        raise FormatError(f"the tensor {name} has shape {tuple(tensor.shape)}, but the configuration says {shape}")
    return tensor


def adapter_config(**fields: Any) -> AdapterConfig:
    """Return our configuration with these fields.

    Raises:
        FormatError: a value is not supported.
    """
    try:
        return AdapterConfig(**fields)
    except ValidationError as error:
        raise FormatError(f"unsupported adapter: {'; '.join(complaints(error))}") from error
