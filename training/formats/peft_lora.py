"""Read and write PEFT LoRA checkpoints; settings beyond plain LoRA are rejected by name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from peft import LoraConfig, TaskType
from safetensors.torch import save
from torch import Tensor

from uq4ct.model_store.adapters.config import LINEAR_TARGETS, AdapterConfig
from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.formats.foreign import (
    SAFETENSORS_FILE,
    Checkpoint,
    ForeignAdapter,
    FormatError,
    adapter_config,
    check_task,
    effective_alpha,
    optional_text,
    rank_of,
    refuse_others,
    shown,
    take,
)

PREFIX = "base_model.model."
_A, _B = ".lora_A.weight", ".lora_B.weight"
# Initialisations that do not change the base model's weights; other adapters need the changed weights.
INITIALISATIONS = (True, False, "gaussian", "orthogonal", "eva")
HONOURED = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "use_rslora", "init_lora_weights")
# These do not affect what a stored adapter computes. The tensors show which linears are adapted.
WITHOUT_EFFECT = (
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "loftq_config",
    "lora_ga_config",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
)
_PLACE = re.compile(r"(?P<layer>.*\blayers\.\d+)\.(?P<rest>.+)")


def from_peft(checkpoint: Checkpoint) -> ForeignAdapter:
    """Read plain LoRA from a PEFT checkpoint.

    Raises:
        FormatError: a field needs more than plain LoRA on the linears of every layer, or tensors and fields disagree.
    """
    config = checkpoint.config
    refuse_others(config, HONOURED + WITHOUT_EFFECT)
    check_task(config)
    if config.get("init_lora_weights", True) not in INITIALISATIONS:
        raise FormatError(f"init_lora_weights is {shown(config['init_lora_weights'])}, which changes the base model")
    rank = rank_of(config)
    places = [name.removeprefix(PREFIX).removesuffix(_A) for name in checkpoint.tensors if name.endswith(_A)]
    adapter = adapter_config(
        experts=1,
        top_k=1,
        rank=rank,
        alpha=effective_alpha(config),
        dropout=config.get("lora_dropout", 0.0),
        targets=_targets(places),
    )
    tensors = _stored(dict(checkpoint.tensors), places, rank)
    return ForeignAdapter("peft", adapter, tensors, checkpoint.digest, optional_text(config, "base_model_name_or_path"))


def _stored(foreign: dict[str, Tensor], places: Sequence[str], rank: int) -> dict[str, Tensor]:
    """Return the tensors by our names."""
    tensors = {}
    for place in places:
        tensors[f"{place}.experts.A"] = take(foreign, f"{PREFIX}{place}{_A}", (rank, None))
        tensors[f"{place}.experts.B"] = take(foreign, f"{PREFIX}{place}{_B}", (None, rank))
    if foreign:
        raise FormatError(f"the tensor {min(foreign)} is not part of plain LoRA on linears")
    return tensors


def _targets(places: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the adapted linears, which must be the same in every layer."""
    layers: dict[str, set[str]] = {}
    for place in places:
        match = _PLACE.fullmatch(place)
        if match is None:
            raise FormatError(f"target {place!r} is not in a numbered layer")
        layers.setdefault(match["layer"], set()).add(match["rest"].rpartition(".")[2])
    if not layers:
        raise FormatError("the checkpoint adapts no linears")
    everywhere = set.union(*layers.values())
    for layer, targets in layers.items():
        if targets != everywhere:
            raise FormatError(f"{layer} has no adapter on {sorted(everywhere - targets)}, but other layers have one")
    known = tuple(target for target in LINEAR_TARGETS if target in everywhere)
    return known + tuple(sorted(everywhere.difference(known)))


def write_peft(
    folder: Path, config: AdapterConfig, tensors: Mapping[str, Tensor], base: str, revision: str | None
) -> None:
    """Write plain LoRA as a PEFT checkpoint for the named base model.

    Raises:
        FormatError: the adapter has more than one expert, or a tensor does not belong to an expert.
    """
    if config.routed:
        raise FormatError(f"PEFT's LoRA has no router: an adapter with {config.experts} experts cannot be exported")
    renamed = {_foreign_name(name): tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    LoraConfig(
        r=config.rank,
        lora_alpha=int(config.alpha) if config.alpha.is_integer() else config.alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=config.dropout,
        target_modules=sorted({place.split(".")[-2] for place in bank_places(tensors)}),
        task_type=TaskType.CAUSAL_LM,
        base_model_name_or_path=base,
        revision=revision,
        inference_mode=True,
    ).save_pretrained(str(folder))
    replace_file(folder / SAFETENSORS_FILE, save(renamed, {"format": "pt"}))


def _foreign_name(name: str) -> str:
    place, _, weight = name.rpartition(".experts.")
    if not place or weight not in ("A", "B"):
        raise FormatError(f"a PEFT LoRA checkpoint cannot store {name}")
    return f"{PREFIX}{place}.lora_{weight}.weight"
