"""How the tokens of a batch lie in the rows that a decoder reads, planned on the host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from uq4ct.model_store.base.attention_groups import AttentionGroup, AttentionGroups
from uq4ct.model_store.index_plan import IndexPlan
from uq4ct.model_store.token_batch import SHARED_BRANCH, TokenBatch, tree_mask, used_columns

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_SIMILAR = 2  # maximum ratio of longest to shortest in a group: attention is the smaller part of a token's cost
_STEPS = 16  # row lengths between one power of two and the next


@dataclass(frozen=True, slots=True)
class TreeAttention(IndexPlan):
    """Attention of padded rows, one for each question: the `branches` [R, W] of their tokens."""

    branches: Tensor

    def arguments(self) -> tuple[Tensor, None]:
        """Return the attention mask and the groups for a forward."""
        return tree_mask(self.branches), None


@dataclass(frozen=True, slots=True)
class CausalAttention(IndexPlan):
    """Attention of rows that are texts by themselves, padded on the right: the model's own."""

    def arguments(self) -> tuple[None, None]:
        """Return no mask and no groups for a forward."""
        return None, None


@dataclass(frozen=True, slots=True)
class GroupPlan(IndexPlan):
    """Questions that attend together: `tokens`, `branches` [b, t] and `kept` [n], as in `AttentionGroup`."""

    tokens: Tensor
    branches: Tensor
    kept: Tensor


@dataclass(frozen=True, slots=True)
class PackedAttention(IndexPlan):
    """Attention within each question of one row of W tokens; `order` [W] as in `AttentionGroups`."""

    groups: tuple[GroupPlan, ...]
    order: Tensor

    def arguments(self) -> tuple[Tensor, AttentionGroups]:
        """Return the attention mask and the groups for a forward.

        The mask keeps transformers from building its own, and is never read.
        """
        groups = [AttentionGroup(group.tokens, tree_mask(group.branches), group.kept) for group in self.groups]
        return groups[0].mask, AttentionGroups(groups, self.order)


@dataclass(frozen=True, slots=True)
class Layout(IndexPlan):
    """The N real tokens of a batch in R rows of W tokens: `tokens` and `positions` [R, W].

    `kept` [N] is each token's index in R * W, in the order of the batch's rows. `question_tokens` counts the tokens of
    R * W that belong to each question; those after the last question are blanks. `questions` [R] is the question of
    each row where a question has several.
    """

    tokens: Tensor
    positions: Tensor
    kept: Tensor
    attention: TreeAttention | PackedAttention | CausalAttention
    question_tokens: tuple[int, ...]
    questions: Tensor | None = None


def pad(batch: TokenBatch) -> Layout:
    """Give each question a row of its own, as in the batch."""
    rows, width = batch.tokens.shape
    return Layout(batch.tokens, batch.positions, batch.places, TreeAttention(batch.branches), (width,) * rows)


def pack(batch: TokenBatch, parts: int = 1) -> Layout:
    """Put all questions into one row without pads; it has `parts` parts of equal length with equally many questions.

    A part is a few blanks longer than its tokens, so that rows have few different lengths: libraries keep memory for
    each length they see.
    """
    real = batch.real
    places = batch.places
    count = len(places) // parts
    width = _row_length(count)
    kept = torch.arange(parts * width).view(parts, width)[:, :count].flatten()
    rows = [tensor.new_zeros(1, parts * width) for tensor in (batch.tokens, batch.positions)]
    for row, tensor in zip(rows, (batch.tokens, batch.positions), strict=True):
        row[0, kept] = tensor.flatten()[places]
    lengths = real.sum(dim=1).tolist()
    return Layout(rows[0], rows[1], kept, _packed_attention(batch, kept, lengths, parts * width), tuple(lengths))


def spread(batch: TokenBatch) -> Layout:
    """Give each option a row of its own after the shared tokens, padded on the right; without options, each question.

    For models that read a row from left to right and remember it, such as recurrent ones. The shared tokens are in all
    rows of a question; `kept` refers to those in its first row.
    """
    rows_of = [list(_columns_of_rows(branches)) for branches in batch.branches.tolist()]
    counts = [len(rows) for rows in rows_of]
    width = max(len(columns) for rows in rows_of for columns in rows)
    tokens = batch.tokens.new_zeros(sum(counts), width)
    kept: list[int] = []
    row = 0
    for own, rows in zip(batch.tokens, rows_of, strict=True):
        places: dict[int, int] = {}
        for columns in rows:
            tokens[row, : len(columns)] = own[columns]
            for offset, column in enumerate(columns):
                places.setdefault(column, row * width + offset)
            row += 1
        kept += [places[column] for column in sorted(places)]
    return Layout(
        tokens,
        torch.arange(width).expand(row, -1),
        torch.tensor(kept),
        CausalAttention(),
        tuple(count * width for count in counts),
        torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)),
    )


def _columns_of_rows(branches: Sequence[int]) -> Iterator[list[int]]:
    """Yield the columns of a question's shared tokens and of one option each, or of the shared tokens alone."""
    shared = [column for column, branch in enumerate(branches) if branch == SHARED_BRANCH]
    for option in range(1, max(branches) + 1):
        yield shared + [column for column, branch in enumerate(branches) if branch == option]
    if max(branches) == SHARED_BRANCH:
        yield shared


def _row_length(tokens: int) -> int:
    """Round up to the next row length, which adds at most a sixteenth, or 3 tokens."""
    step = max(4, 2 ** (tokens.bit_length() - 1) // _STEPS)
    return -(-tokens // step) * step


def _packed_attention(batch: TokenBatch, kept: Tensor, lengths: Sequence[int], width: int) -> PackedAttention:
    groups = tuple(_groups(batch, kept, lengths))
    grouped = torch.cat([group.tokens.flatten()[group.kept] for group in groups])
    order = kept.new_zeros(width)  # a blank gets some token's output
    order[grouped] = torch.arange(len(grouped))
    return PackedAttention(groups, order)


def _groups(batch: TokenBatch, kept: Tensor, lengths: Sequence[int]) -> Iterator[GroupPlan]:
    real = batch.real
    numbers = kept[batch.numbers]  # that of a pad is hidden by the mask
    for rows in _similar_rows(lengths):
        chosen = torch.tensor(rows)
        columns = used_columns(real[chosen])
        yield GroupPlan(
            tokens=numbers[chosen, columns],
            branches=batch.branches[chosen, columns],
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


def run_decoder(model: PreTrainedModel, layout: Layout) -> Tensor:
    """Return the final hidden states of a layout's rows, [R, W, d]."""
    mask, groups = layout.attention.arguments()
    named = {} if groups is None else {"groups": groups}
    output = model.get_decoder()(
        input_ids=layout.tokens, position_ids=layout.positions, attention_mask=mask, use_cache=False, **named
    )
    return output.last_hidden_state
