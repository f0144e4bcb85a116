"""Injection of adapters into a base model, on PEFT's tuner machinery."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner
from torch import nn
from transformers import PreTrainedModel

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.adapters.layers import AdaptedLinear, MixtureLayer, RoutedNorm

# The norm whose output a router reads: at the input of the layer, or of its feed-forward block.
ROUTED_NORMS = {"layer": "input_layernorm", "block": "post_attention_layernorm"}
_LAYER_INDEX = re.compile(r"(?:^|\.)layers\.(\d+)\.")


@dataclass
class MixturePeftConfig(PeftConfig):
    """The configuration that PEFT's injection needs: the module names to match, and our own configuration."""

    target_modules: set[str] = field(default_factory=set)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)


class MixtureTuner(BaseTuner):
    """A base model with any number of adapters; each forward runs through the adapter that its context names, or none.

    Raises:
        ValueError: a target matches no linear of the base model, or the model already has an adapter of that name,
            from any tuner.
    """

    prefix = "mixture_"
    tuner_layer_cls = MixtureLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  (declared so by BaseTuner)

    def __init__(self, model: PreTrainedModel, adapter: str, config: AdapterConfig) -> None:
        super().__init__(model, _peft_config(model, adapter, config), adapter)

    def add(self, adapter: str, config: AdapterConfig) -> None:
        """Inject another adapter beside the existing ones, ready for training; on an error nothing is injected."""
        self.peft_config[adapter] = _peft_config(self.model, adapter, config)
        self.active_adapter = adapter  # PEFT gives gradients to the weights of the active adapter only
        try:
            self.inject_adapter(self.model, adapter)
        except Exception:  # memory may run out after some of the layers
            self._take_out(adapter)
            raise

    def remove(self, adapter: str) -> None:
        """Remove an adapter's weights; the others do not change."""
        if not any(self._layers(adapter)):
            raise ValueError(f"no adapter named {adapter!r} is injected")
        self._take_out(adapter)

    def freeze(self, adapter: str, dtype: torch.dtype) -> None:
        """Prepare an adapter for inference: no gradients, experts in the compute dtype, routers in fp32 as trained."""
        for layer in self._layers(adapter):
            if isinstance(layer, AdaptedLinear):
                layer.adapters[adapter].to(dtype)
            layer.adapters[adapter].requires_grad_(False)

    def adapter_parameters(self, adapter: str) -> dict[str, nn.Parameter]:
        """Return the weights of one adapter, named by their place and without the adapter's own name."""
        return {
            f"{layer.stored_name}.{name}": parameter
            for layer in self._layers(adapter)
            for name, parameter in layer.adapters[adapter].named_parameters()
        }

    def _take_out(self, adapter: str) -> None:
        for layer in self._layers(adapter):
            del layer.adapters[adapter]
        del self.peft_config[adapter]

    def _layers(self, adapter: str) -> Iterator[MixtureLayer]:
        for module in self.model.modules():
            if isinstance(module, MixtureLayer) and adapter in module.adapters:
                yield module

    def _create_and_replace(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        peft_config: MixturePeftConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,  # noqa: ARG002
    ) -> None:
        if not isinstance(target, MixtureLayer):
            match = _LAYER_INDEX.search(current_key)
            if match is None:
                raise ValueError(f"{current_key} is not inside a numbered layer, so no router can serve it")
            layer = int(match.group(1))
            if isinstance(target, nn.Linear):
                target = AdaptedLinear(target, current_key, layer)
            else:
                target = RoutedNorm(target, current_key, layer)
            setattr(parent, target_name, target)
        target.add(adapter_name, peft_config.adapter)


def _peft_config(model: nn.Module, adapter: str, config: AdapterConfig) -> MixturePeftConfig:
    if any(isinstance(module, MixtureLayer) and adapter in module.adapters for module in model.modules()):
        raise ValueError(f"an adapter named {adapter!r} is already injected")
    linears = {
        name.removesuffix(".base_layer").rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and _LAYER_INDEX.search(name)
    }
    missing = sorted(set(config.targets) - linears)
    if missing:
        raise ValueError(f"targets {missing} match no linear of the base model; its layers have {sorted(linears)}")
    norms = {ROUTED_NORMS[config.placement]} if config.routed else set()
    return MixturePeftConfig(target_modules=set(config.targets) | norms, adapter=config)
