"""The forward context: which adapter a forward runs through, and the routing it leaves behind.

A context belongs to one forward in one thread. Layers write their routing under their own index, so that a layer that
runs twice (recomputed activations) counts once, and nothing is left in a module after the forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from torch import Tensor

from model_store.adapters.router import Routing


@dataclass(slots=True)
class ForwardContext:
    """One forward through one adapter."""

    adapter: str
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
def adapter_forward(adapter: str) -> Iterator[ForwardContext]:
    """Run the forwards in the block through the named adapter."""
    context = ForwardContext(adapter)
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
