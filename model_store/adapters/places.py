"""The places of a base model where adapters have weights: its layers' linears, and the blocks whose input is routed.

A layer of a decoder has children: a feed-forward block, and one block or several that mix tokens (attention, a linear
attention, a convolution, a state space). This holds for every family, whatever its names are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from uq4ct.model_store.adapters.config import ROLES, AdapterConfig, Role
from uq4ct.model_store.adapters.expert_block import build_bank
from uq4ct.model_store.adapters.layers import AdaptedLinear, MixtureLayer, RoutedInput
from uq4ct.model_store.adapters.router import Router

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FEED_FORWARD = ("mlp", "feed_forward", "shared_mlp")
# Feed-forward blocks with experts of their own flatten their tokens, so that gates no longer fit.
_EXPERTS = ("experts", "block_sparse_moe")
_CLOSING = ("down_proj", "fc2", "c_proj", "w2", "output_linear")  # the last linears of feed-forward blocks
# In layers with these two norms alone, a router is stored under the name of the norm whose output it reads.
_NORMS = {"layer": "input_layernorm", "block": "post_attention_layernorm"}
_ROUTED_INPUT = "routed_input"


@dataclass(frozen=True, slots=True, eq=False)
class Place(ABC):
    """Abstract: attribute `attribute` of the module `parent`; `stored_name` is that of an adapter's weights here."""

    stored_name: str
    parent: nn.Module
    attribute: str
    layer_index: int

    @property
    @abstractmethod
    def layer(self) -> MixtureLayer | None:
        """The layer that injection put here; None before."""

    @abstractmethod
    def build(self, config: AdapterConfig, device: torch.device | None = None) -> nn.Module:
        """Return new weights of an adapter for this place, in fp32, on the CPU by default."""

    @abstractmethod
    def inject(self) -> MixtureLayer:
        """Return the layer here, after adding it if it is not there yet."""


@dataclass(frozen=True, slots=True, eq=False)
class LinearPlace(Place):
    """A linear of the base model, in a block with a `role`; None: beside the blocks of its layer."""

    role: Role | None

    @property
    def layer(self) -> MixtureLayer | None:
        """See `Place`."""
        found = getattr(self.parent, self.attribute)
        return found if isinstance(found, MixtureLayer) else None

    @property
    def base_layer(self) -> nn.Linear:
        """The base model's own linear."""
        found = getattr(self.parent, self.attribute)
        return found.base_layer if isinstance(found, AdaptedLinear) else found

    def is_target(self, target: str) -> bool:
        """Whether a target of a configuration, a role or a name, includes this linear."""
        return self.attribute == target or (target in ROLES and self.role is not None and target in ("all", self.role))

    def build(self, config: AdapterConfig, device: torch.device | None = None) -> nn.Module:
        """See `Place`; B starts at zero, so the output does not change."""
        linear, in_block = self.base_layer, self.role == "feed_forward"
        closing = self.attribute in _CLOSING
        return build_bank(linear.in_features, linear.out_features, config, device, in_block=in_block, closing=closing)

    def inject(self) -> MixtureLayer:
        """See `Place`."""
        layer = self.layer
        if layer is None:
            layer = AdaptedLinear(self.base_layer, self.stored_name, self.layer_index)
            layer.train(layer.base_layer.training)
            setattr(self.parent, self.attribute, layer)
        return layer


@dataclass(frozen=True, slots=True, eq=False)
class RouterPlace(Place):
    """The input [.., `width`] of a layer's first block that mixes tokens, or of its feed-forward block."""

    placement: str
    width: int

    @property
    def block(self) -> nn.Module:
        """The block that reads what the router reads."""
        return getattr(self.parent, self.attribute)

    @property
    def layer(self) -> MixtureLayer | None:
        """See `Place`."""
        return cast("MixtureLayer | None", self.block._modules.get(_ROUTED_INPUT))

    def build(self, config: AdapterConfig, device: torch.device | None = None) -> nn.Module:
        """See `Place`."""
        return Router(self.width, config.experts, config.top_k, config.mixing, device)

    def inject(self) -> MixtureLayer:
        """See `Place`."""
        layer = self.layer
        if layer is None:
            layer = RoutedInput(self.stored_name, self.layer_index)
            layer.train(self.block.training)
            self.block.add_module(_ROUTED_INPUT, layer)
            self.block.register_forward_pre_hook(layer.read, with_kwargs=True)
        return layer


def find_places(model: PreTrainedModel) -> Iterator[Place]:
    """Yield the places of a base model, with or without adapters, in the order of its modules."""
    layers = cast(nn.ModuleList, model.get_decoder().layers)
    prefix = next(name for name, module in model.named_modules() if module is layers)
    width = model.config.get_text_config().hidden_size
    for index, layer in enumerate(layers):
        yield from _routers(f"{prefix}.{index}", layer, index, width)
        for child, block in layer.named_children():
            yield from _linears(f"{prefix}.{index}.{child}", layer, child, block, index)


def chosen_places(places: Sequence[Place], config: AdapterConfig) -> list[Place]:
    """Return the places that a configuration adapts.

    Raises:
        ValueError: a target matches no linear of the base model, or the feed-forward block is not adapted as a whole.
    """
    linears = [place for place in places if isinstance(place, LinearPlace)]
    names = sorted({place.attribute for place in linears})
    missing = [target for target in config.targets if not any(place.is_target(target) for place in linears)]
    if missing:
        raise ValueError(
            f"targets {missing} match no linear of the base model; its layers have {names}, or say {list(ROLES)}"
        )
    chosen = [place for place in linears if any(map(place.is_target, config.targets))]
    if config.placement == "block":
        block = {place.attribute for place in linears if place.role == "feed_forward"}
        left_out = sorted(block - {place.attribute for place in chosen})
        if left_out or not block:
            raise ValueError(f"placement 'block' adapts the whole feed-forward block: targets lack {left_out}")
    routers = [place for place in places if isinstance(place, RouterPlace) and place.placement == config.placement]
    own = {id(place) for place in (*chosen, *(routers if config.routed else ()))}
    return [place for place in places if id(place) in own]


def _routers(name: str, layer: nn.Module, index: int, width: int) -> Iterator[RouterPlace]:
    """Yield the places of a layer's routers, one for each placement that it allows."""
    children = [(child, block) for child, block in layer.named_children() if not _has_experts(child, block)]
    blocks = [child for child, block in children if any(_linear_names(block))]
    mixers = [child for child in blocks if child not in _FEED_FORWARD]
    feed_forward = [child for child in blocks if child in _FEED_FORWARD]
    norms = {child for child, _ in layer.named_children() if "norm" in child}
    for placement, read in (("layer", mixers), ("block", feed_forward)):
        for child in read[:1]:
            stored = _NORMS[placement] if norms == set(_NORMS.values()) else child
            yield RouterPlace(f"{name}.{stored}.{RoutedInput.part}", layer, child, index, placement, width)


def _linears(name: str, layer: nn.Module, child: str, block: nn.Module, index: int) -> Iterator[LinearPlace]:
    if isinstance(block, nn.Linear | AdaptedLinear):
        yield LinearPlace(f"{name}.{AdaptedLinear.part}", layer, child, index, None)
        return
    role: Role = "feed_forward" if child in _FEED_FORWARD else "attention"
    if _has_experts(child, block):
        return
    for inner in _linear_names(block):
        parent, _, attribute = inner.rpartition(".")
        stored = f"{name}.{inner}.{AdaptedLinear.part}"
        yield LinearPlace(stored, block.get_submodule(parent), attribute, index, role)


def _has_experts(name: str, block: nn.Module) -> bool:
    return name in _EXPERTS or any(inner.endswith(_EXPERTS) for inner, _ in block.named_modules())


def _linear_names(block: nn.Module) -> Iterator[str]:
    """Yield the names of a block's linears, with or without adapters; "" if the block is one itself."""
    injected: list[str] = []
    for name, module in block.named_modules():
        if injected and name.startswith(injected[-1]):
            continue
        if isinstance(module, MixtureLayer):
            injected.append(f"{name}.")
        if isinstance(module, nn.Linear | AdaptedLinear):
            yield name
