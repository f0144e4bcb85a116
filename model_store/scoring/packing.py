"""Packing a batch's tokens into one row without pads, and unpacking them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.base.attention import AttentionGroup, AttentionGroups
from uq4ct.model_store.scoring.encoding import TokenBatch, tree_mask, used_columns

_SIMILAR = 2  # maximum ratio of longest to shortest in a group: attention is the smaller part of a token's cost
_STEPS = 16  # row lengths between one power of two and the next


@dataclass(frozen=True, slots=True)
class PackedTokens:
    """The N real tokens of a batch [B, T] in one row, in the order of the rows: `tokens` and `positions` [1, M].

    M is N plus a few blanks, so that rows have few different lengths: libraries keep memory for each length they see.
    `kept` [N] are the indices of the real tokens in the row, `places` [N] those in B * T.
    """

    tokens: Tensor
    positions: Tensor
    kept: Tensor
    places: Tensor
    shape: tuple[int, int]
    attention: AttentionGroups

    @property
    def mask(self) -> Tensor:
        """A mask of four dimensions, which keeps transformers from building its own; it is never read."""
        return self.attention.groups[0].mask

    def unpack(self, values: Tensor) -> Tensor:
        """Put values [1, M, ...] back where the tokens were: [B, T, ...], 0 at pads."""
        rest = values.shape[2:]
        blank = values.new_zeros(self.shape[0] * self.shape[1], *rest)
        return blank.index_copy(0, self.places, values[0, self.kept]).view(*self.shape, *rest)


def pack(batch: TokenBatch, parts: int = 1) -> PackedTokens:
    """Pack a batch without its pads; the row has `parts` parts of equal length with equally many questions each."""
    real = batch.real
    places = real.flatten().nonzero().squeeze(1)
    count = len(places) // parts
    width = _row_length(count)
    kept = torch.arange(parts * width, device=real.device).view(parts, width)[:, :count].flatten()
    groups = list(_attention_groups(batch, real, kept))
    grouped = torch.cat([group.tokens.flatten()[group.kept] for group in groups])
    rows = [tensor.new_zeros(1, parts * width) for tensor in (batch.tokens, batch.positions)]
    for row, tensor in zip(rows, (batch.tokens, batch.positions), strict=True):
        row[0, kept] = tensor.flatten()[places]
    order = kept.new_zeros(parts * width)  # a blank gets some token's output
    order[grouped] = torch.arange(len(grouped), device=real.device)
    return PackedTokens(
        tokens=rows[0],
        positions=rows[1],
        kept=kept,
        places=places,
        shape=(batch.tokens.shape[0], batch.tokens.shape[1]),
        attention=AttentionGroups(groups, order),
    )


def _row_length(tokens: int) -> int:
    """Round up to the next row length, which adds at most a sixteenth, or 3 tokens."""
    step = max(4, 2 ** (tokens.bit_length() - 1) // _STEPS)
    return -(-tokens // step) * step


def _attention_groups(batch: TokenBatch, real: Tensor, kept: Tensor) -> Iterator[AttentionGroup]:
    # A pad gets the index of some token; the mask hides it from all others.
    numbers = kept[(real.flatten().cumsum(0) - 1).clamp(min=0)].view_as(real)
    for rows in _similar_rows(real.sum(dim=1).tolist()):
        chosen = torch.tensor(rows, device=real.device)
        columns = used_columns(real[chosen])
        yield AttentionGroup(
            tokens=numbers[chosen, columns],
            mask=tree_mask(batch.branches[chosen, columns]),
            kept=real[chosen, columns].flatten().nonzero().squeeze(1),
        )


def _similar_rows(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the rows in groups of similar length."""
    group: list[int] = []
    longest = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        if group and lengths[row] * _SIMILAR < longest:
            yield group
            group = []
        if not group:
            longest = lengths[row]
        group.append(row)
    yield group
