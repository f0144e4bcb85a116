"""An ensemble of the snapshots of one LoRA run (Chen et al. 2017)."""

from __future__ import annotations

from pydantic import Field

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.ensemble import EnsembleConfig, stack_members
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod, one_lora


class CheckpointEnsembleOptions(Frozen):
    """Which snapshots of the run are members; an answer costs one pass per member, training nothing more."""

    first_snapshot: int = Field(default=1, ge=1, description="first snapshot that is a member, counted from 1")


def _check(adapter: AdapterConfig, loss: LossConfig, snapshots: int, options: CheckpointEnsembleOptions) -> None:
    members = snapshots - options.first_snapshot + 1
    if members < 2:
        raise ValueError(
            f"training.snapshots is {snapshots} and options.first_snapshot {options.first_snapshot}: that leaves "
            f"{max(members, 0)} members, an ensemble needs at least 2"
        )


def _fit(fitting: Fitting, options: CheckpointEnsembleOptions) -> Finished:
    members = fitting.snapshots[options.first_snapshot - 1 :]
    return Finished(EnsembleConfig(samples=len(members)), stack_members(members))


CHECKPOINT_ENSEMBLE = PostHocMethod(options=CheckpointEnsembleOptions, needs=one_lora, fit=_fit, check=_check)
