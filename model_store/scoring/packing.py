"""The tokens of a batch in one row, without its pads, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model_store.attention import AttentionGroup, AttentionGroups
from model_store.scoring.encoding import TokenBatch, tree_mask

_SIMILAR = 2  # the longest of a group over its shortest: attention is the smaller part of what a token costs


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """The N real tokens of a batch [B, T], row after row: `tokens` and `positions` [1, N], `places` [N] in B * T."""

    tokens: Tensor
    positions: Tensor
    places: Tensor
    shape: tuple[int, int]
    attention: AttentionGroups

    @property
    def mask(self) -> Tensor:
        """A mask of some shape that transformers would otherwise make of the positions, and nothing reads."""
        return self.attention.groups[0].mask

    def unpack(self, values: Tensor) -> Tensor:
        """Put values [1, N, ...] where the tokens stood: [B, T, ...], 0 at pads."""
        rest = values.shape[2:]
        blank = values.new_zeros(self.shape[0] * self.shape[1], *rest)
        return blank.index_copy(0, self.places, values[0]).view(*self.shape, *rest)


def pack(batch: TokenBatch) -> PackedTokens:
    """Leave the pads of a batch out."""
    real = batch.real
    places = real.flatten().nonzero().squeeze(1)
    groups = list(_attention_groups(batch, real))
    grouped = torch.cat([group.tokens.flatten()[group.kept] for group in groups])
    return PackedTokens(
        tokens=batch.tokens.flatten()[places].unsqueeze(0),
        positions=batch.positions.flatten()[places].unsqueeze(0),
        places=places,
        shape=(batch.tokens.shape[0], batch.tokens.shape[1]),
        attention=AttentionGroups(groups, grouped.argsort()),
    )


def _attention_groups(batch: TokenBatch, real: Tensor) -> Iterator[AttentionGroup]:
    numbers = (
        (real.flatten().cumsum(0) - 1).view_as(real).clamp(min=0)
    )  # a pad's is another token's, which does no harm
    for rows in _similar_rows(real.sum(dim=1).tolist()):
        chosen = torch.tensor(rows, device=real.device)
        # Pads stand on one side, the same in every row.
        columns = real[chosen].any(dim=0).nonzero().squeeze(1)
        first, last = int(columns[0]), int(columns[-1]) + 1
        branches = batch.branches[chosen, first:last]
        yield AttentionGroup(
            tokens=numbers[chosen, first:last],
            mask=tree_mask(branches),
            kept=real[chosen, first:last].flatten().nonzero().squeeze(1),
        )


def _similar_rows(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The rows in groups of similar length, each group in the order of the rows."""
    group: list[int] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if group and lengths[row] * _SIMILAR < longest:
            yield sorted(group)
            group = []
        if not group:
            longest = lengths[row]
        group.append(row)
    yield sorted(group)
