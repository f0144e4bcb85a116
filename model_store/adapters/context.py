"""The forward context: which adapter a forward runs through, how, and the routing it leaves behind.

A context belongs to one forward in one thread. Layers write their routing under their own index, so that a layer that
runs twice (recomputed activations) counts once, and nothing is left in a module after the forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.router import Routing


class BankCall(Protocol):
    """What runs in place of a linear's expert bank as it is stored: other weights, noise, a record of what passes.

    It gets padded rows [B, T, ...] unless it is a `TokenwiseCall`.
    """

    def __call__(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Do what `bank(inputs, base_output, gates)` does, [..., out]; `place` is its stored name."""
        ...


class TokenwiseCall:
    """Marks a bank call to which a row of the batch is nothing but its tokens.

    It gets the tokens of all rows in one, [1, N, ...], in the order of the rows; `parts` of them are of equal length.
    """

    parts: int = 1


@dataclass(slots=True)
class ForwardContext:
    """One forward through one adapter; `through` None runs its banks as they are."""

    adapter: str
    through: BankCall | None = None
    routing: dict[int, Routing] = field(default_factory=dict)

    def gates(self, layer: int) -> Tensor:
        """The expert weights [..., N] of a layer.

        Raises:
            KeyError: no router ran in that layer before its linears.
        """
        return self.routing[layer].gates


_current: ContextVar[ForwardContext | None] = ContextVar("forward_context", default=None)


def current_forward() -> ForwardContext | None:
    """The context of the running forward; None runs the base model alone."""
    return _current.get()


@contextmanager
def adapter_forward(adapter: str, through: BankCall | None = None) -> Iterator[ForwardContext]:
    """Run the forwards in the block through the named adapter."""
    context = ForwardContext(adapter, through)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
