"""Base models loaded for use: frozen, on a device, in a dtype."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from uq4ct.model_store.base.configuration import is_text_model
from uq4ct.model_store.base.errors import BaseModelError, one_line
from uq4ct.model_store.base.files import BaseFiles, find_base_files
from uq4ct.model_store.base.identity import BaseIdentity, DtypeName, LayoutName
from uq4ct.model_store.base.self_check import Reading, choose_reading

DTYPES: dict[DtypeName, torch.dtype] = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A causal language model, its tokenizer, what identifies the pair, and how it reads several questions."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    identity: BaseIdentity
    reading: Reading

    @property
    def layout(self) -> LayoutName:
        """How the tokens of several questions lie in the rows that the model reads."""
        return self.reading.layout

    @property
    def window(self) -> int:
        """The longest sequence, in tokens; if options share a row, one in which each token sees all earlier ones.

        A tree mask cannot slide.
        """
        config = self.model.config.get_text_config()
        longest = config.max_position_embeddings
        if self.layout == "rows":
            return longest
        return min(longest, getattr(config, "sliding_window", None) or sys.maxsize)

    @property
    def dtype_name(self) -> DtypeName:
        """The name of the compute dtype, as in settings."""
        return next(name for name, dtype in DTYPES.items() if dtype == self.model.dtype)


def resolve_device(device: str) -> torch.device:
    """Return the device of a setting; `auto` is CUDA if available, else the CPU.

    Raises:
        BaseModelError: the device does not exist.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise BaseModelError(f"device {device!r} is neither auto nor a device that PyTorch knows: {error}") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise BaseModelError(f"device {device!r} was requested, but no CUDA device is available: use auto or cpu")
    try:
        torch.ones(1, device=resolved).item()
    except Exception as error:  # whatever the backend raises
        raise BaseModelError(f"device {device!r} cannot be used: {one_line(error)}") from error
    return resolved


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a setting; `auto` is bf16 on CUDA and on a CPU with bf16 instructions, else fp32.

    Raises:
        BaseModelError: the dtype is neither `auto` nor one of `DTYPES`.
    """
    if dtype == "auto":
        fast = device.type == "cuda" or torch.cpu.get_capabilities().get("avx512_bf16", False)
        return torch.bfloat16 if fast else torch.float32
    if dtype not in DTYPES:
        raise BaseModelError(f"dtype {dtype!r} is not one of auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def load_base_model(
    name: str,
    revision: str | None = None,
    *,
    device: str = "auto",
    dtype: str = "auto",
    cache_dir: Path | None = None,
) -> BaseModel:
    """Load a base model, frozen and in evaluation mode.

    Raises:
        BaseModelError: the model cannot be loaded, or is not of a supported family.
    """
    return load_files(find_base_files(name, revision, cache_dir=cache_dir), device=device, dtype=dtype)


def load_files(files: BaseFiles, *, device: str = "auto", dtype: str = "auto") -> BaseModel:
    """Load the base model in a folder, frozen and in evaluation mode.

    Raises:
        BaseModelError: the model cannot be loaded.
    """
    place = resolve_device(device)
    model, tokenizer = _read_files(files, resolve_dtype(dtype, place))
    _drop_other_parts(model)
    model = model.to(place).eval()  # pyright: ignore[reportArgumentType]
    model.requires_grad_(False)
    return BaseModel(model, tokenizer, files.identity, choose_reading(model, files.identity.name))


def _read_files(files: BaseFiles, dtype: torch.dtype) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    name, folder = files.identity.name, files.folder
    kind = AutoModelForCausalLM if is_text_model(files.identity.model_type) else AutoModelForImageTextToText
    with _reading(f"base model {name!r} in {folder}"):
        model, report = kind.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            folder,
            dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below by name
        )
    with _reading(f"the tokenizer of base model {name!r} in {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    _check_report(f"base model {name!r} in {folder}", report)
    return model, tokenizer


def _drop_other_parts(model: PreTrainedModel) -> None:
    """Free what does not read text, such as the vision tower of a multimodal model."""
    decoder = model.get_decoder()
    inner = model.base_model
    if decoder is inner:
        return
    for name, part in list(inner.named_children()):
        if part is not decoder:
            setattr(inner, name, None)


def _check_report(what: str, report: Mapping[str, Any]) -> None:
    """Raise if weights are missing or do not fit: they would be initialised at random."""
    missing, unfit = sorted(report["missing_keys"]), sorted(report["mismatched_keys"])
    if missing:
        raise BaseModelError(f"{what} lacks {len(missing)} weights, first {missing[0]}")
    if unfit:
        weight, stored, expected = unfit[0]
        raise BaseModelError(
            f"{what} has {len(unfit)} weights of another shape than its config.json says, first {weight}: "
            f"{tuple(stored)}, not {tuple(expected)}"
        )


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers raises anything, from KeyError to ImportError, for what it cannot read
        raise BaseModelError(f"{what} cannot be read: {one_line(error)}") from error
