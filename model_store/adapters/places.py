"""The places of a base model where adapters have weights: its layers' linears, and the norms that routers read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.layers import AdaptedLinear, MixtureLayer, RoutedNorm

# The norm whose output a router reads: at the input of the layer, or of its feed-forward block.
ROUTED_NORMS = {"layer": "input_layernorm", "block": "post_attention_layernorm"}
_LAYER_INDEX = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A linear or a norm of the base model: attribute `attribute` of the module `parent`."""

    name: str
    parent: nn.Module
    attribute: str
    layer_index: int

    @property
    def layer(self) -> MixtureLayer | None:
        """The layer that injection put here; None while the base model's own is here."""
        found = getattr(self.parent, self.attribute)
        return found if isinstance(found, MixtureLayer) else None

    @property
    def base_layer(self) -> nn.Module:
        """The base model's own layer."""
        found = getattr(self.parent, self.attribute)
        return found.base_layer if isinstance(found, MixtureLayer) else found

    @property
    def kind(self) -> type[AdaptedLinear | RoutedNorm]:
        """The class of the layer that injection puts here."""
        return AdaptedLinear if isinstance(self.base_layer, nn.Linear) else RoutedNorm

    @property
    def stored_name(self) -> str:
        """The name of an adapter's weights here."""
        return f"{self.name}.{self.kind.part}"

    def build(self, config: AdapterConfig, device: torch.device | None = None) -> nn.Module:
        """Return new weights of an adapter for this place, in fp32, on the CPU by default."""
        return self.kind.build(self.base_layer, self.attribute, config, device)

    def inject(self) -> MixtureLayer:
        """Return the layer here, after putting it in place of the base model's own if it is not there yet."""
        layer = self.layer
        if layer is None:
            layer = self.kind(self.base_layer, self.stored_name, self.layer_index)
            layer.train(layer.base_layer.training)
            setattr(self.parent, self.attribute, layer)
        return layer


def find_places(model: nn.Module) -> Iterator[Place]:
    """Yield the places of a base model, with or without adapters, in the order of its modules."""
    injected: list[str] = []
    for name, module in model.named_modules():
        if injected and name.startswith(injected[-1]):
            continue
        if isinstance(module, MixtureLayer):
            injected.append(f"{name}.")
        match = _LAYER_INDEX.search(name)
        parent, _, attribute = name.rpartition(".")
        if match and (isinstance(module, nn.Linear | MixtureLayer) or attribute in ROUTED_NORMS.values()):
            yield Place(name, model.get_submodule(parent), attribute, int(match.group(1)))
