"""The two layers that injection puts in place of a base model's: a linear with experts, and a norm with a router."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, cast

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.context import current_forward
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.adapters.expert_block import build_bank
from uq4ct.model_store.adapters.router import Router


class MixtureLayer(nn.Module, BaseTunerLayer):
    """A base layer and what each adapter adds to it; the forward context selects the adapter."""

    part: ClassVar[str]  # name of the added weights in a stored adapter

    def __init__(self, base_layer: nn.Module, place: str, layer_index: int) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.stored_name = f"{place}.{self.part}"
        self.layer_index = layer_index
        self.merged_adapters: list[str] = []
        self._disable_adapters = False

    @property
    @abstractmethod
    def adapters(self) -> nn.ModuleDict:
        """The weights of each adapter by its name."""

    @abstractmethod
    def add(self, adapter: str, config: AdapterConfig) -> None:
        """Add the weights of an adapter, in fp32 on the device of the base layer."""


class AdaptedLinear(MixtureLayer):
    """A frozen linear plus one expert bank for each adapter."""

    part = "experts"
    adapter_layer_names = ("banks",)

    def __init__(self, base_layer: nn.Linear, place: str, layer_index: int) -> None:
        super().__init__(base_layer, place, layer_index)
        self.linear = place.rpartition(".")[2]
        self.in_features = base_layer.in_features
        self.out_features = base_layer.out_features
        self.banks = nn.ModuleDict()

    @property
    def adapters(self) -> nn.ModuleDict:
        """The expert banks."""
        return self.banks

    def add(self, adapter: str, config: AdapterConfig) -> None:
        """Add an expert bank; B starts at zero, so the output does not change."""
        bank = build_bank(self.linear, self.in_features, self.out_features, config)
        self.banks[adapter] = bank.to(device=self.get_base_weight().device)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map [..., in] to [..., out]; within a block of experts there is one row per kept expert."""
        context = current_forward()
        if context is None or context.adapter not in self.banks:
            return self.base_layer(inputs)
        bank = cast(ExpertBank, self.banks[context.adapter])
        gates = context.gates(self.layer_index) if bank.experts > 1 else None
        output = bank.base_output(self.base_layer, inputs, gates)
        if context.through is None:
            return bank(inputs, output, gates)
        return context.through(self.stored_name, bank, inputs, output, gates)


class RoutedNorm(MixtureLayer):
    """A norm with a router on its output, shared by all linears of the layer or of its feed-forward block."""

    part = "router"
    adapter_layer_names = ("routers",)

    def __init__(self, base_layer: nn.Module, place: str, layer_index: int) -> None:
        super().__init__(base_layer, place, layer_index)
        self.routers = nn.ModuleDict()

    @property
    def adapters(self) -> nn.ModuleDict:
        """The routers."""
        return self.routers

    def add(self, adapter: str, config: AdapterConfig) -> None:
        """Add a router."""
        weight = self.get_base_weight()
        router = Router(weight.shape[-1], config.experts, config.top_k, config.mixing)
        self.routers[adapter] = router.to(device=weight.device)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise [..., d] and record the routing in the forward context."""
        normalised = self.base_layer(hidden)
        context = current_forward()
        if context is not None and context.adapter in self.routers:
            context.routing[self.layer_index] = self.routers[context.adapter](normalised)
        return normalised
