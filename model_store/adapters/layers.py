"""The two layers that injection adds to a base model: a linear with experts, and routers on what a block reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from uq4ct.model_store.adapters.context import current_forward
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.segments import run_banks, run_routers


class MixtureLayer(nn.Module):
    """What each adapter adds at one place of the base model; the forward context selects the adapter."""

    part: ClassVar[str]  # last part of `stored_name`

    def __init__(self, stored_name: str, layer_index: int) -> None:
        super().__init__()
        self.stored_name = stored_name  # of each adapter's weights
        self.layer_index = layer_index

    @property
    @abstractmethod
    def adapters(self) -> nn.ModuleDict:
        """The weights of each adapter by its name."""


class AdaptedLinear(MixtureLayer):
    """A frozen linear plus one expert bank for each adapter."""

    part = "experts"

    def __init__(self, base_layer: nn.Linear, stored_name: str, layer_index: int) -> None:
        super().__init__(stored_name, layer_index)
        self.base_layer = base_layer
        self.banks = nn.ModuleDict()

    @property
    def adapters(self) -> nn.ModuleDict:
        """The expert banks."""
        return self.banks

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [..., in] to [..., out]; within a block of experts there is one row per kept expert."""
        context = current_forward()
        if context is None or context.adapter not in self.banks:
            return self.base_layer(inputs)
        bank = cast(ExpertBank, self.banks[context.adapter])
        gates = context.gates(self.layer_index) if bank.experts > 1 else None
        if context.segments is not None:
            return run_banks(context.segments, self.banks, self.base_layer, inputs, gates)
        output = bank.base_output(self.base_layer, inputs, gates)
        if context.through is None:
            return bank(inputs, output, gates)
        return context.through(self.stored_name, bank, inputs, output, gates)


class RoutedInput(MixtureLayer):
    """A router for each adapter on what a block reads, shared by all linears of the layer or of its feed-forward block.

    It is a child of the block, which calls `read` before each forward.
    """

    part = "router"

    def __init__(self, stored_name: str, layer_index: int) -> None:
        super().__init__(stored_name, layer_index)
        self.routers = nn.ModuleDict()

    @property
    def adapters(self) -> nn.ModuleDict:
        """The routers."""
        return self.routers

    def read(self, block: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Record the routing of the block's input [R, W, d] in the forward context."""
        context = current_forward()
        if context is None or context.adapter not in self.routers:
            return
        hidden: Tensor = named["hidden_states"] if "hidden_states" in named else arguments[0]
        context.routing[self.layer_index] = (
            run_routers(context.segments, self.routers, hidden)
            if context.segments is not None
            else self.routers[context.adapter](hidden)
        )
