"""A forward through several adapters of the same shape, each for its own run of tokens.

The base model's products are computed once for all tokens, and so is everything that depends on the shape alone. Only
the products with an adapter's own weights are computed for each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.router import Router, Routing, route


@dataclass(frozen=True, slots=True)
class Segments:
    """Adapters and the number of tokens of each, row after row; what follows belongs to the last."""

    adapters: Sequence[str]
    tokens: Sequence[int]

    def split(self, values: Tensor) -> Sequence[Tensor]:
        """Return each adapter's part of [R, W, ..., n], [rows, n] each; views if the values are contiguous."""
        rows = values.flatten(0, -2)
        each = len(rows) // (values.shape[0] * values.shape[1])  # of a token: one, or one for each kept expert
        sizes = [each * count for count in self.tokens[:-1]]
        return rows.split([*sizes, len(rows) - sum(sizes)])


def run_banks(
    segments: Segments, banks: nn.ModuleDict, base_layer: nn.Module, inputs: Tensor, gates: Tensor | None
) -> Tensor:
    """Return what each adapter's bank returns for its own tokens: [R, W, ..., in] -> [R, W, ..., out].

    For inference: the base layer's output is changed in place.
    """
    own = [cast(ExpertBank, banks[adapter]) for adapter in segments.adapters]
    shape = own[0]
    output = shape.base_output(base_layer, inputs, gates).contiguous()
    low_rank = inputs.new_empty(*inputs.shape[:-1], shape.A.shape[0])
    for bank, rows, projected in zip(own, segments.split(inputs), segments.split(low_rank), strict=True):
        torch.mm(rows, bank.A.T, out=projected)
    gated = shape.gate(low_rank, gates)
    for bank, rows, added in zip(own, segments.split(gated), segments.split(output), strict=True):
        added.addmm_(rows, bank.B.T)
    return output


def run_routers(segments: Segments, routers: nn.ModuleDict, hidden: Tensor) -> Routing:
    """Return each router's routing of its own tokens, [R, W, d] -> [R, W, ...]."""
    own = [cast(Router, routers[adapter]) for adapter in segments.adapters]
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    logits = [
        F.linear(rows, router.weight.to(dtype))
        for rows, router in zip(segments.split(hidden.to(dtype)), own, strict=True)
    ]
    return route(torch.cat(logits).unflatten(0, hidden.shape[:2]), own[0].top_k, own[0].mixing)
