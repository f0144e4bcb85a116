"""What the foreign layouts have in common: a JSON configuration beside a file of named tensors."""

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
    """A foreign checkpoint that cannot be read, or that asks for what our adapters cannot do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A foreign checkpoint as it stands in its folder: tensors in fp32, and the digest of their file."""

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    digest: str


@dataclass(frozen=True, slots=True)
class ForeignAdapter:
    """An adapter made elsewhere, in our terms: `tensors` by the names under which we store them.

    `activation` is that of the feed-forward block it was trained with; None: the base model's own. `base` is how its
    maker called the base model, if he did.
    """

    format: Literal["peft", "mixlora"]
    config: AdapterConfig
    tensors: dict[str, Tensor]
    digest: str
    base: str | None
    activation: str | None = None


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder of `adapter_config.json` and `adapter_model.safetensors`, or `.bin` where there is none.

    Raises:
        FormatError: a file is missing or cannot be read; a `.bin` holds anything but tensors.
    """
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{folder / CONFIG_FILE} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{folder / CONFIG_FILE} holds no record")
    path = folder / SAFETENSORS_FILE
    if not path.is_file():
        path = folder / PICKLE_FILE
    if not path.is_file():
        raise FormatError(f"{folder} holds neither {SAFETENSORS_FILE} nor {PICKLE_FILE}")
    return Checkpoint(config, _read_tensors(path), f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        # weights_only: a pickle may run code, this reader takes tensors alone.
        tensors = (
            load_file(path)
            if path.name == SAFETENSORS_FILE
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise FormatError(f"{path} holds something other than named tensors")
    return {str(name): tensor.detach().float() for name, tensor in tensors.items()}


def refuse_others(config: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
    """Refuse every field that is neither known nor switched off.

    Raises:
        FormatError: names the field and its value.
    """
    for field, value in config.items():
        if field not in known and value not in OFF:
            raise FormatError(f"{prefix}{field} is {value!r}, which our adapters cannot do")


def check_task(config: Mapping[str, Any], others: Collection[str] = ()) -> None:
    """Refuse an adapter of anything but a causal language model; `others` are further names for one.

    Raises:
        FormatError: names the task.
    """
    if config.get("task_type") not in (None, "CAUSAL_LM", *others):
        raise FormatError(f"task_type is {config['task_type']!r}: only adapters of causal language models answer here")


def required(config: Mapping[str, Any], field: str) -> Any:
    """The value of a field that must be there."""
    if field not in config:
        raise FormatError(f"{CONFIG_FILE} lacks {field}")
    return config[field]


def number(config: Mapping[str, Any], field: str) -> float:
    """The value of a field that must be a number."""
    value = required(config, field)
    if not isinstance(value, int | float):
        raise FormatError(f"{field} is {value!r}, no number")
    return value


def effective_alpha(config: Mapping[str, Any]) -> float:
    """Our alpha, whose scale is alpha / r: rank-stabilised LoRA scales by alpha / sqrt(r) (Kalajdzievski 2023)."""
    alpha, rank = number(config, "lora_alpha"), number(config, "r")
    return alpha * rank**0.5 if config.get("use_rslora") else alpha


def take(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, int | None]) -> Tensor:
    """Take a tensor out by its name; None in `shape` is any size.

    Raises:
        FormatError: it is missing or of another shape.
    """
    if name not in tensors:
        raise FormatError(f"the tensor {name} is missing")
    tensor = tensors.pop(name)
    if tensor.dim() != 2 or any(want not in (None, size) for want, size in zip(shape, tensor.shape, strict=True)):
        raise FormatError(f"the tensor {name} has shape {tuple(tensor.shape)}, the configuration says {shape}")
    return tensor


def adapter_config(**fields: Any) -> AdapterConfig:
    """Our configuration.

    Raises:
        FormatError: a value is out of our range.
    """
    try:
        return AdapterConfig(**fields)
    except ValidationError as error:
        raise FormatError(f"unsupported adapter: {'; '.join(complaints(error))}") from error
