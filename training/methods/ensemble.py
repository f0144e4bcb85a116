"""An ensemble of LoRA runs that differ only in their seed (Balabanov and Linander 2024: with a penalty on B A)."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.ensemble import EnsembleConfig, stack_members
from uq4ct.training.methods.base import Finished, Fitting, Need, PostHocMethod


class EnsembleOptions(Frozen):
    """The number of members; training and answers cost that many times as much."""

    members: int = Field(default=5, ge=2, le=100, description="M; their seeds count up from the run's seed")


def _needs(options: EnsembleOptions) -> Sequence[Need]:
    return tuple(Need("lora", seed_offset) for seed_offset in range(options.members))


def _fit(fitting: Fitting, options: EnsembleOptions) -> Finished:
    return Finished(EnsembleConfig(samples=options.members), stack_members(fitting.weights))


ENSEMBLE = PostHocMethod(options=EnsembleOptions, needs=_needs, fit=_fit)
