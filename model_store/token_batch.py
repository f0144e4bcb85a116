"""Encoded questions as trees of tokens: a shared part and a branch for each option; batches of them on the host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PAD_BRANCH = -1
SHARED_BRANCH = 0


@dataclass(frozen=True, slots=True)
class EncodedQuestion:
    """The tokens of one question as a tree: a shared branch (0), then one branch (i + 1) for each option scored.

    `is_option` marks the tokens of option texts, which `feu_tokens: prompt` leaves out.
    """

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    branches: tuple[int, ...]
    is_option: tuple[bool, ...]
    options: int

    @property
    def length(self) -> int:
        """Tokens of the question with all its options."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Encoded questions on the host, padded: `tokens`, `positions`, `branches`, `is_option` are [B, T], `options` [B].

    `shared_end` [B] is the index of the last token of the shared branch. Pads have branch -1.
    """

    tokens: Tensor
    positions: Tensor
    branches: Tensor
    is_option: Tensor
    options: Tensor
    shared_end: Tensor

    @property
    def real(self) -> Tensor:
        """Which tokens are not pads: bool [B, T]."""
        return self.branches != PAD_BRANCH

    @property
    def width(self) -> int:
        """C, the largest number of options of a question."""
        return int(self.options.max())

    @property
    def places(self) -> Tensor:
        """The indices in B * T of the N tokens that are not pads: [N]."""
        return self.real.flatten().nonzero().squeeze(1)

    @property
    def numbers(self) -> Tensor:
        """The number of each token among the N that are not pads, row by row: [B, T]; a pad has that of some token."""
        return (self.real.flatten().cumsum(0) - 1).clamp(min=0).view_as(self.branches)

    def repeat(self, times: int) -> TokenBatch:
        """Return the whole batch several times over: row b is also row B + b, 2 B + b and so on."""
        rows = (self.tokens, self.positions, self.branches, self.is_option)
        return TokenBatch(
            *(tensor.repeat(times, 1) for tensor in rows),
            options=self.options.repeat(times),
            shared_end=self.shared_end.repeat(times),
        )

    def portions(self, rows: int) -> Iterator[TokenBatch]:
        """Split the batch into parts of at most `rows` rows, each as wide in tokens as its longest question."""
        fields = (self.tokens, self.positions, self.branches, self.is_option, self.options, self.shared_end)
        return (TokenBatch(*parts)._narrow() for parts in zip(*(field.split(rows) for field in fields), strict=True))

    def _narrow(self) -> TokenBatch:
        """Drop the columns that are pads in every row."""
        columns = used_columns(self.real)
        return TokenBatch(
            tokens=self.tokens[:, columns],
            positions=self.positions[:, columns],
            branches=self.branches[:, columns],
            is_option=self.is_option[:, columns],
            options=self.options,
            shared_end=self.shared_end - columns.start,
        )


def candidate_mask(options: Tensor, width: int) -> Tensor:
    """Return which of `width` candidates each question has, from the numbers of their options [B]: bool [B, width]."""
    return torch.arange(width, device=options.device) < options.unsqueeze(1)


def used_columns(real: Tensor) -> slice:
    """Return the columns of `real` bool [B, T] that are not pads in at least one row; all pads are on one side."""
    columns = real.any(dim=0).nonzero()
    return slice(int(columns[0]), int(columns[-1]) + 1)


def tree_mask(branches: Tensor) -> Tensor:
    """Return which token attends to which, from the tokens' branches [B, T]: bool [B, 1, T, T].

    A token attends to the shared branch and its own, up to itself. A pad attends only to itself, so that no row is
    empty.
    """
    query, key = branches.unsqueeze(2), branches.unsqueeze(1)
    length = branches.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branches.device).tril()
    visible = causal & ((key == SHARED_BRANCH) | (key == query)) & (query != PAD_BRANCH)
    return (visible | torch.eye(length, dtype=torch.bool, device=branches.device)).unsqueeze(1)


def collate(questions: Sequence[EncodedQuestion], *, padding_side: str = "right") -> TokenBatch:
    """Pad questions to the longest of them."""
    width = max(question.length for question in questions)

    def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
        pads = [[fill] * (width - len(row)) for row in rows]
        sides = ([*pad, *row] if padding_side == "left" else [*row, *pad] for row, pad in zip(rows, pads, strict=True))
        return torch.tensor(list(sides))

    branches = padded([question.branches for question in questions], PAD_BRANCH)
    shared_end = (branches == SHARED_BRANCH).long() * torch.arange(width)
    return TokenBatch(
        tokens=padded([question.tokens for question in questions], 0),
        positions=padded([question.positions for question in questions], 0),
        branches=branches,
        is_option=padded([question.is_option for question in questions], 0).bool(),
        options=torch.tensor([question.options for question in questions]),
        shared_end=shared_end.argmax(dim=1),
    )
