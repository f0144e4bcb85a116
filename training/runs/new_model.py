"""The model of a configuration: its base model with an untrained adapter."""

from __future__ import annotations

import torch

from uq4ct.model_store.adapted_model import AdaptedModel, add_adapter
from uq4ct.model_store.base.models import BaseModel, load_base_model
from uq4ct.training.model_process import leave_cpus
from uq4ct.training.run_config import ConfigError, RunConfig


def load_base_of(config: RunConfig, *, device: str | None = None, dtype: str | None = None) -> BaseModel:
    """Load the base model of a configuration; device and dtype default to the configuration's."""
    base = config.base
    return leave_cpus(
        load_base_model(base.name, base.revision, device=device or base.device, dtype=dtype or base.dtype)
    )


def make_model(config: RunConfig, base: BaseModel) -> AdaptedModel:
    """Return the base model with an untrained adapter, initialised from the run's seed; its output is the base model's.

    Raises:
        ConfigError: the base model lacks a target layer, or has no single token for a letter.
    """
    torch.manual_seed(config.training.seed)
    try:
        return add_adapter(base, config.adapter, config.scoring)
    except ValueError as error:
        raise ConfigError(f"adapter, scoring: not supported by the base model {base.identity.name}: {error}") from error
