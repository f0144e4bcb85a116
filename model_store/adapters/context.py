"""The forward context: which adapter a forward runs through, how, and the routing that it records.

A context belongs to one forward in one thread. Layers write their routing under their own index, so that a layer that
runs twice (recomputed activations) counts once, and nothing is left in a module after the forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.router import Routing
from uq4ct.model_store.adapters.segments import Segments


class BankCall(Protocol):
    """Replaces the call of a linear's expert bank: with other weights, with noise, or to record what passes through.

    Its inputs are padded rows [B, T, ...] unless it is a `TokenwiseCall`.
    """

    def __call__(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Return what replaces `bank(inputs, base_output, gates)`, [..., out]; `place` is the bank's stored name."""
        ...


class TokenwiseCall:
    """Marks a bank call that treats a row of the batch as separate tokens.

    It gets the tokens of all rows as one row, [1, N, ...], in the order of the rows and in `parts` of equal length.
    """

    parts: int = 1


@dataclass(frozen=True, slots=True)
class RowQuestions:
    """The question of each row [R] where some of the `count` questions of a batch have several rows."""

    index: Tensor
    count: int

    def sum_rows(self, values: Tensor) -> Tensor:
        """Add up the values [R, ...] of each question's rows: [count, ...]."""
        return values.new_zeros(self.count, *values.shape[1:]).index_add(0, self.index, values)


@dataclass(slots=True)
class ForwardContext:
    """One forward through one adapter; with `through` None its banks run unchanged.

    With `segments` it is a forward through several adapters of one shape, and `adapter` is the first of them. With
    `questions` None each row is a question.
    """

    adapter: str
    through: BankCall | None = None
    segments: Segments | None = None
    questions: RowQuestions | None = None
    routing: dict[int, Routing] = field(default_factory=dict)

    def gates(self, layer: int) -> Tensor:
        """Return the expert weights [..., N] of a layer.

        Raises:
            KeyError: no router ran in that layer before its linears.
        """
        return self.routing[layer].gates

    def layers(self) -> list[Routing]:
        """Return the routing of every layer that has recorded one, in the order of the layers."""
        return [self.routing[layer] for layer in sorted(self.routing)]


_current: ContextVar[ForwardContext | None] = ContextVar("forward_context", default=None)


def current_forward() -> ForwardContext | None:
    """Return the context of the running forward; with None the base model runs alone."""
    return _current.get()


def draw_for_rows(rows: int, draw: Callable[[int], Tensor]) -> Tensor:
    """Return draws [rows, ...] from `draw`, which returns so many; the rows of a question share theirs."""
    context = current_forward()
    if context is None or context.questions is None:
        return draw(rows)
    return draw(context.questions.count)[context.questions.index]


@contextmanager
def adapter_forward(
    adapter: str,
    through: BankCall | None = None,
    segments: Segments | None = None,
    questions: RowQuestions | None = None,
) -> Iterator[ForwardContext]:
    """Run the forwards in the block through the named adapter, or through those of `segments`."""
    context = ForwardContext(adapter, through, segments, questions)
    with within(context):
        yield context


@contextmanager
def within(context: ForwardContext | None) -> Iterator[None]:
    """Run the block within a forward's context: that of a layer that is computed again in the backward pass."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)
