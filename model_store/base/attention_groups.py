"""Which questions of a packed row attend together. Imports no transformers, which takes seconds to load."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

GROUPED_ATTENTION = "grouped_sdpa"  # for transformers, which passes a decoder's extra arguments on to its attention


@dataclass(frozen=True, slots=True)
class AttentionGroup:
    """Questions of similar length, padded only for attention.

    `tokens` [b, t] is each token's index in the row, `mask` bool [b, 1, t, t] the attention mask, and `kept` [n] the
    indices of the b * t positions that are not pads.
    """

    tokens: Tensor
    mask: Tensor
    kept: Tensor


@dataclass(frozen=True, slots=True)
class AttentionGroups:
    """All questions of a row of M tokens: their `groups`, and `order` [M], each token's index in the groups' output."""

    groups: Sequence[AttentionGroup]
    order: Tensor
