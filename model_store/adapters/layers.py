"""The two layers that injection puts in place of a base model's: a linear with experts, and a norm with a router."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.context import current_forward
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.expert_block import build_bank
from uq4ct.model_store.adapters.router import Router
from uq4ct.model_store.adapters.segments import run_banks, run_routers


class MixtureLayer(nn.Module):
    """A base layer and what each adapter adds to it; the forward context selects the adapter."""

    part: ClassVar[str]  # last part of `stored_name`

    def __init__(self, base_layer: nn.Module, stored_name: str, layer_index: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.stored_name = stored_name  # of each adapter's weights
        self.layer_index = layer_index

    @property
    @abstractmethod
    def adapters(self) -> nn.ModuleDict:
        """The weights of each adapter by its name."""

    @staticmethod
    @abstractmethod
    def build(base_layer: Any, name: str, config: AdapterConfig, device: torch.device | None) -> nn.Module:
        """Return new weights of an adapter for the place `name`, in fp32."""


class AdaptedLinear(MixtureLayer):
    """A frozen linear plus one expert bank for each adapter."""

    part = "experts"

    def __init__(self, base_layer: nn.Module, stored_name: str, layer_index: int) -> None:
        super().__init__(base_layer, stored_name, layer_index)
        self.banks = nn.ModuleDict()

    @property
    def adapters(self) -> nn.ModuleDict:
        """The expert banks."""
        return self.banks

    @staticmethod
    def build(base_layer: Any, name: str, config: AdapterConfig, device: torch.device | None) -> nn.Module:
        """Return an expert bank for the linear `name`; B starts at zero, so the output does not change."""
        return build_bank(name, base_layer.in_features, base_layer.out_features, config, device)

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


class RoutedNorm(MixtureLayer):
    """A norm with a router on its output, shared by all linears of the layer or of its feed-forward block."""

    part = "router"

    def __init__(self, base_layer: nn.Module, stored_name: str, layer_index: int) -> None:
        super().__init__(base_layer, stored_name, layer_index)
        self.routers = nn.ModuleDict()

    @property
    def adapters(self) -> nn.ModuleDict:
        """The routers."""
        return self.routers

    @staticmethod
    def build(base_layer: Any, name: str, config: AdapterConfig, device: torch.device | None) -> nn.Module:  # noqa: ARG004
        """Return a router."""
        return Router(base_layer.weight.shape[-1], config.experts, config.top_k, config.mixing, device)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise [..., d] and record the routing in the forward context."""
        normalised = self.base_layer(hidden)
        context = current_forward()
        if context is not None and context.adapter in self.routers:
            context.routing[self.layer_index] = (
                run_routers(context.segments, self.routers, normalised)
                if context.segments is not None
                else self.routers[context.adapter](normalised)
            )
        return normalised
