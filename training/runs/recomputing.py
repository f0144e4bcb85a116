"""Gradient checkpointing: layers keep their inputs alone, and the backward pass computes their activations again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.adapters.context import current_forward, within
from uq4ct.model_store.scoring.cloze import ClozeScorer
from uq4ct.training.run_config import ConfigError


def recompute_activations(model: AdaptedModel) -> None:
    """Let a model's layers, and the head of cloze scoring, compute their activations again in the backward pass.

    Raises:
        ConfigError: the layers of the base model's family do not support it.
    """
    layers = list(cast(nn.ModuleList, model.tuner.model.get_decoder().layers))
    for layer in layers:
        if not isinstance(layer, GradientCheckpointingLayer):
            raise ConfigError(f"training.checkpointing: {type(layer).__name__} does not support it; set it to false")
    for layer in cast(list[Any], layers):
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = _run_layer
        layer.training = True  # the layer alone, not its modules: transformers recomputes in training only
    if isinstance(model.scorer, ClozeScorer):
        model.scorer.recompute = True


def _run_layer(layer: Callable[..., Any], *arguments: Any) -> Any:
    """Run a layer; when it runs again, it is within the same forward's context, with the same random numbers."""
    contexts = partial(_contexts, current_forward())
    return checkpoint(layer, *arguments, use_reentrant=False, context_fn=contexts)


def _contexts(forward: Any) -> tuple[Any, Any]:
    return nullcontext(), within(forward)
