"""Adapters on a base model: building their weights, and adding them to its layers and removing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.layers import MixtureLayer
from uq4ct.model_store.adapters.places import chosen_places, find_places
from uq4ct.model_store.adapters.stored_weights import freeze
from uq4ct.model_store.base.identity import LayoutName

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class MixtureTuner(nn.Module):
    """A frozen base model with any number of adapters; each forward runs through the adapter of its context, or none.

    `layout` says how the base model reads several questions.

    Adding and removing an adapter costs the same however many others there are: no method walks through the modules.
    """

    def __init__(self, model: PreTrainedModel, layout: LayoutName) -> None:
        super().__init__()
        self.model = model
        self.layout: LayoutName = layout
        self.training = False
        self._places = list(find_places(model))

    def __contains__(self, adapter: str) -> bool:
        """Whether an adapter of this name is on the base model, from any tuner."""
        return any(True for _ in self._layers(adapter))

    def build(self, config: AdapterConfig, device: torch.device | None = None) -> dict[str, nn.Module]:
        """Return the new weights of an adapter by stored name; for any thread, as it does not change the model.

        Args:
            device: on `meta`, weights take no memory; None = that of the base model.

        Raises:
            ValueError: a target matches no linear of the base model.
        """
        chosen = chosen_places(self._places, config)
        built = {place.stored_name: place.build(config, device) for place in chosen}
        return built if device is not None else {name: module.to(self.model.device) for name, module in built.items()}

    def add(self, adapter: str, config: AdapterConfig) -> None:
        """Add an adapter with new weights, ready for training; on an error nothing is added.

        Raises:
            ValueError: a target matches no linear of the base model, or it has an adapter of that name.
        """
        self._check_free(adapter)
        self.attach(adapter, self.build(config))

    def attach(self, adapter: str, modules: Mapping[str, nn.Module]) -> None:
        """Add an adapter with weights that `build` returned; on an error nothing is added. Not during a forward.

        Raises:
            ValueError: the base model has an adapter of that name.
        """
        self._check_free(adapter)
        try:
            for place in self._places:
                if place.stored_name in modules:
                    place.inject().adapters[adapter] = modules[place.stored_name]
        except Exception:  # memory may run out after some of the layers
            self._take_out(adapter)
            raise

    def remove(self, adapter: str) -> None:
        """Remove an adapter's weights; the others do not change. Not during a forward.

        Raises:
            ValueError: there is no adapter of that name.
        """
        if adapter not in self:
            raise ValueError(f"no adapter named {adapter!r} is injected")
        self._take_out(adapter)

    def train_adapter(self, adapter: str, mode: bool) -> None:
        """Set an adapter's weights to training or evaluation mode."""
        for layer in self._layers(adapter):
            layer.adapters[adapter].train(mode)

    def freeze(self, adapter: str) -> None:
        """Prepare an adapter for inference: no gradients, experts in the base model's dtype."""
        for layer in self._layers(adapter):
            freeze(layer.adapters[adapter], self.model.dtype)

    def adapter_parameters(self, adapter: str) -> dict[str, nn.Parameter]:
        """Return the weights of one adapter, named by their place and without the adapter's own name."""
        return {
            f"{layer.stored_name}.{name}": parameter
            for layer in self._layers(adapter)
            for name, parameter in layer.adapters[adapter].named_parameters()
        }

    def _check_free(self, adapter: str) -> None:
        if adapter in self:
            raise ValueError(f"an adapter named {adapter!r} is already injected")

    def _take_out(self, adapter: str) -> None:
        for layer in self._layers(adapter):
            del layer.adapters[adapter]

    def _layers(self, adapter: str) -> Iterator[MixtureLayer]:
        for place in self._places:
            layer = place.layer
            if layer is not None and adapter in layer.adapters:
                yield layer
