"""Attention for questions packed into one row without pads; the rest of the model works token by token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from uq4ct.model_store.base.attention_groups import GROUPED_ATTENTION, AttentionGroups


def grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    groups: AttentionGroups | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend within each question, [1, heads, M, d] -> [1, M, heads, d]; without `groups`, attend as in any batch.

    The mask hides the keys of pads, and their outputs are dropped.
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
