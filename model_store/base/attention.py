"""Attention among questions whose tokens all stand in one row, without pads: everything else works token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

GROUPED_ATTENTION = "grouped_sdpa"  # to transformers, which hands a decoder's further arguments on to its attention


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Questions of similar length, padded for attention alone.

    `tokens` [b, t] is the place in the row of every token, `mask` bool [b, 1, t, t] who sees whom, and `kept` [n] which
    of the b * t are no pads.
    """

    tokens: Tensor
    mask: Tensor
    kept: Tensor


@dataclass(frozen=True, slots=True)
class AttentionGroups:
    """All questions of a row of M tokens: their `groups`, and `order` [M], where in the groups' tokens each one is."""

    groups: Sequence[AttentionGroup]
    order: Tensor


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    groups: AttentionGroups | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of [1, heads, M, d] within each question, [1, M, heads, d]; without `groups`, that of any batch.

    A pad's key is hidden by the mask, and what comes out for it is dropped.
    """
    if groups is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    rows = [states[0].transpose(0, 1) for states in (query, key, value)]  # [M, heads, d]
    parts = []
    for group in groups.groups:
        q, k, v = (states[group.tokens].transpose(1, 2) for states in rows)  # [b, heads, t, d]
        output, _ = sdpa_attention_forward(module, q, k, v, group.mask, **options)
        parts.append(output.flatten(0, 1)[group.kept])
    return torch.cat(parts)[groups.order].unsqueeze(0), None


AttentionInterface.register(GROUPED_ATTENTION, grouped_attention)
AttentionMaskInterface.register(GROUPED_ATTENTION, sdpa_mask)
