"""Shared by the formats of other programs: a JSON configuration beside a file of named tensors."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.frozen import complaints
from uq4ct.model_store.regular_files import MEBIBYTE, read_regular, reason_of
from uq4ct.model_store.strict_json import JsonError, parse_json
from uq4ct.training.formats.tensor_files import PICKLE_FILE, SAFETENSORS_FILE, FormatError, read_tensors

CONFIG_FILE = "adapter_config.json"
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
FIELDS = {  # of our configuration, as the checkpoint spells them
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "experts": "num_experts",
    "rank": "r",
    "targets": "target_modules",
}
LARGEST_NUMBER = 1e30
MOST_CONFIG_BYTES = MEBIBYTE
_SHOWN_CHARACTERS = 80
OFF: tuple[object, ...] = (None, False, "none", [], {})


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A foreign checkpoint as stored: configuration, tensors, and the digest of the tensor file."""

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
    path = folder / CONFIG_FILE
    try:
        config = parse_json(read_regular(path, MOST_CONFIG_BYTES))
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {reason_of(error)}") from error
    except JsonError as error:
        raise FormatError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise FormatError(f"{path} is not a JSON object")
    path = folder / SAFETENSORS_FILE
    if not os.path.lexists(path):
        path = folder / PICKLE_FILE
    if not os.path.lexists(path):
        raise FormatError(f"{folder} contains neither {SAFETENSORS_FILE} nor {PICKLE_FILE}")
    tensors, digest = read_tensors(path)
    return Checkpoint(config, tensors, digest)


def refuse_others(config: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
    """Reject every field that is neither known nor switched off.

    Raises:
        FormatError: names the field and its value.
    """
    for field, value in config.items():
        if field not in known and value not in OFF:
            raise FormatError(f"{prefix}{field} is {shown(value)}, which our adapters do not support")


def check_task(config: Mapping[str, Any], others: Collection[str] = ()) -> None:
    """Reject adapters of anything but causal language models; `others` are further allowed task names.

    Raises:
        FormatError: names the task.
    """
    if config.get("task_type") not in (None, "CAUSAL_LM", *others):
        raise FormatError(
            f"task_type is {shown(config['task_type'])}: only adapters of causal language models are supported"
        )


def required(config: Mapping[str, Any], field: str) -> Any:
    """Return the value of a required field."""
    if field not in config:
        raise FormatError(f"{CONFIG_FILE} lacks the field {field}")
    return config[field]


def rank_of(config: Mapping[str, Any]) -> int:
    """Return the rank, a whole number from 1."""
    value = required(config, "r")
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise FormatError(f"r must be a whole number from 1 (got {shown(value)})")
    return value


def number(config: Mapping[str, Any], field: str) -> float:
    """Return the value of a required number, which must be finite."""
    value = required(config, field)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= LARGEST_NUMBER:
        raise FormatError(f"{field} must be a finite number (got {shown(value)})")
    return float(value)


def switch(config: Mapping[str, Any], field: str) -> bool:
    """Return the value of a switch that is off if it is missing or null."""
    value = config.get(field)
    if not isinstance(value, bool | None):
        raise FormatError(f"{field} must be true or false (got {shown(value)})")
    return bool(value)


def optional_text(config: Mapping[str, Any], field: str) -> str | None:
    """Return the value of a text that may be missing or null."""
    value = config.get(field)
    if not isinstance(value, str | None):
        raise FormatError(f"{field} must be text (got {shown(value)})")
    return value


def effective_alpha(config: Mapping[str, Any]) -> float:
    """Return alpha for our scale of alpha / r; rank-stabilised LoRA scales by alpha / sqrt(r) (Kalajdzievski 2023)."""
    alpha, rank = number(config, "lora_alpha"), rank_of(config)
    return alpha * rank**0.5 if switch(config, "use_rslora") and rank <= LARGEST_NUMBER else alpha


def shown(value: object) -> str:
    """Return a value for a message, on one line and cut."""
    return repr(value)[:_SHOWN_CHARACTERS]


def take(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, int | None]) -> Tensor:
    """Remove a tensor from `tensors` and return it in fp32; None in `shape` allows any size.

    Raises:
        FormatError: it is missing, has another shape or a dtype that is no float of 16 bits or more, or a value is not
            finite.
    """
    if name not in tensors:
        raise FormatError(f"the tensor {name} is missing")
    tensor = tensors.pop(name)
    if tensor.dim() != 2 or any(want not in (None, size) for want, size in zip(shape, tensor.shape, strict=True)):
        raise FormatError(f"the tensor {name} has shape {tuple(tensor.shape)}, but the configuration says {shape}")
    if tensor.dtype not in DTYPES:
        allowed = ", ".join(map(str, DTYPES)).replace("torch.", "")
        raise FormatError(f"the tensor {name} has dtype {str(tensor.dtype)[6:]}, which is not one of {allowed}")
    converted = tensor.detach().to(torch.float32, memory_format=torch.contiguous_format)
    if not converted.isfinite().all():
        place = (~converted.isfinite()).nonzero()[0].tolist()
        raise FormatError(f"the tensor {name} has the value {tensor[tuple(place)].item()} at {place}, not a finite one")
    return converted


def adapter_config(**fields: Any) -> AdapterConfig:
    """Return our configuration with these fields.

    Raises:
        FormatError: a value is not supported.
    """
    try:
        return AdapterConfig.model_validate(fields, strict=True)
    except ValidationError as error:
        spelled = complaints(error, spell=lambda field: FIELDS.get(field, field))
        raise FormatError(f"{CONFIG_FILE}: {'; '.join(spelled)}") from error
