"""MixLoRA checkpoints, as read by the `mixlora` package and written by MoE-PEFT.

Layout, each name after `mixlora.layers.I.`: `mlp.moe_gate.weight` [N, d] is the layer's router;
`self_attn.NAME.lora_A.weight` [r, in] and `lora_B` [out, r] are plain LoRA on attention;
`mlp.NAME.experts.E.lora_A.weight` and `lora_B` are expert E of a linear of the feed-forward block.
Source: TUDB-Labs/MixLoRA `mixlora/model.py`, `mixlora/config.py`; TUDB-Labs/MoE-PEFT `moe_peft/model.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from uq4ct.model_store.adapters.config import BLOCK_TARGETS, LINEAR_TARGETS, AdapterConfig
from uq4ct.training.formats.foreign import (
    Checkpoint,
    ForeignAdapter,
    FormatError,
    adapter_config,
    check_task,
    effective_alpha,
    optional_text,
    rank_of,
    refuse_others,
    required,
    shown,
    switch,
    take,
)

# Settings that the experts may override in MixLoRA; here they must be equal to those of attention.
SHARED = ("r", "lora_alpha", "lora_dropout", "use_rslora")
HONOURED = (
    *SHARED,
    "act_fn",
    "expert_lora",
    "num_experts",
    "peft_type",
    "routing_strategy",
    "target_modules",
    "task_type",
    "top_k",
)
# Only training or bookkeeping reads these; noise on the router's input (`jitter_noise`) is not among them.
WITHOUT_EFFECT = (
    "base_model_name_or_path",
    "entropy_eps",
    "entropy_index",
    "entropy_type",
    "lora_init",
    "name",
    "peft_version",
    "router_aux_loss_coef",
    "router_dyn_loss_coef",
    "router_init_range",
    "router_loss",
    "task_name",
)
_GATE = re.compile(r"mixlora\.layers\.(\d{1,9})\.mlp\.moe_gate\.weight")


def from_mixlora(checkpoint: Checkpoint) -> ForeignAdapter:
    """Read a feed-forward block of experts from a MixLoRA checkpoint.

    Raises:
        FormatError: a field needs something that our adapters do not support, or tensors and fields disagree.
    """
    config = checkpoint.config
    _check(config)
    adapter = adapter_config(
        experts=required(config, "num_experts"),
        top_k=config.get("top_k", 2),
        rank=rank_of(config),
        alpha=effective_alpha(config),
        dropout=config.get("lora_dropout", 0.0),
        mixing="renormalised",
        placement="block",
        targets=_targets(required(config, "target_modules")),
    )
    foreign = dict(checkpoint.tensors)
    layers = sorted(int(match[1]) for match in map(_GATE.fullmatch, foreign) if match)
    tensors: dict[str, Tensor] = {}
    for layer in layers:
        tensors |= _layer(foreign, layer, adapter)
    if foreign:
        raise FormatError(f"the tensor {min(foreign)} is not part of the format")
    base, activation = optional_text(config, "base_model_name_or_path"), optional_text(config, "act_fn")
    return ForeignAdapter("mixlora", adapter, tensors, checkpoint.digest, base, activation)


def _check(config: Mapping[str, Any]) -> None:
    refuse_others(config, HONOURED + WITHOUT_EFFECT)
    strategy = required(config, "routing_strategy")
    if strategy != "mixlora":
        raise FormatError(f"routing_strategy is {shown(strategy)}; only 'mixlora' (top-k routing) is supported")
    check_task(config, ("QUESTION_ANS",))
    experts = config.get("expert_lora") or {}
    if not isinstance(experts, dict):
        raise FormatError(f"expert_lora must be an object (got {shown(experts)})")
    refuse_others(experts, SHARED + WITHOUT_EFFECT + ("peft_type", "task_type"), "expert_lora.")
    for field in SHARED:
        if field in experts and experts[field] != config.get(field, False):
            raise FormatError(
                f"expert_lora.{field} is {experts[field]!r}, {field} is {config.get(field)!r}: "
                "they must be equal for experts and attention"
            )


def _targets(targets: object) -> tuple[str, ...]:
    """Return the adapted linears from a list of names, or from an object of names and switches."""
    if isinstance(targets, dict):
        targets = [name for name in targets if switch(targets, name)]
    if not isinstance(targets, list):
        raise FormatError(f"target_modules must be a list or an object (got {shown(targets)})")
    unknown = [target for target in targets if target not in LINEAR_TARGETS]
    if unknown:
        raise FormatError(f"target_modules contains {shown(unknown)}; allowed are {list(LINEAR_TARGETS)}")
    return tuple(target for target in LINEAR_TARGETS if target in targets)


def _layer(foreign: dict[str, Tensor], layer: int, adapter: AdapterConfig) -> dict[str, Tensor]:
    """Remove one layer's tensors and rename them; the experts of a linear are concatenated."""
    theirs, ours = f"mixlora.layers.{layer}", f"model.layers.{layer}"
    gate = take(foreign, f"{theirs}.mlp.moe_gate.weight", (adapter.experts, None))
    stored = {f"{ours}.post_attention_layernorm.router.weight": gate}
    for target in adapter.targets:
        room = "mlp" if target in BLOCK_TARGETS else "self_attn"
        place = f"{room}.{target}"
        experts = [f".experts.{n}" for n in range(adapter.experts)] if room == "mlp" else [""]
        rows = [take(foreign, f"{theirs}.{place}{n}.lora_A.weight", (adapter.rank, None)) for n in experts]
        columns = [take(foreign, f"{theirs}.{place}{n}.lora_B.weight", (None, adapter.rank)) for n in experts]
        stored[f"{ours}.{place}.experts.A"] = torch.cat(rows)
        stored[f"{ours}.{place}.experts.B"] = torch.cat(columns, dim=1)
    return stored
