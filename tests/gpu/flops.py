"""Count the floating-point operations of a forward and a training step from their matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Work:
    """The input of a model: `tokens` in total, `squares` the sum over questions of their squared lengths, and
    `head_rows` the number of hidden states that the head reads: those before option tokens."""

    tokens: int
    squares: int
    head_rows: int

    @classmethod
    def of(cls, lengths: Sequence[int], head_rows: int) -> Work:
        """Return the work of questions of these lengths in tokens."""
        return cls(sum(lengths), sum(length * length for length in lengths), head_rows)


@dataclass(frozen=True, slots=True)
class Weights:
    """Numbers of weights in matrices: of the frozen linears, of the adapter with its routers, of the head; and
    `attention`, layers * heads * dimension of a head, what each pair of tokens costs two products of."""

    base: int
    adapter: int
    head: int
    attention: int

    def forward_flops(self, work: Work) -> float:
        """2 for each weight and token, and 4 for each pair of tokens of a question: q k and p v."""
        linears = 2.0 * work.tokens * (self.base + self.adapter)
        return linears + 2.0 * work.head_rows * self.head + 4.0 * work.squares * self.attention

    def training_flops(self, work: Work) -> float:
        """A forward, a backward to all inputs, which costs as much (attention: twice), and the adapter's gradients."""
        backward = self.forward_flops(work) + 4.0 * work.squares * self.attention
        return self.forward_flops(work) + backward + 2.0 * work.tokens * self.adapter
