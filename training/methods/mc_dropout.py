"""Monte-Carlo dropout on a LoRA run that was trained with dropout (Gal and Ghahramani 2016)."""

from __future__ import annotations

from pydantic import Field

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.dropout import DropoutConfig
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods.base import Finished, Fitting, PostHocMethod, one_lora


class McDropoutOptions(Frozen):
    """The number of masks; an answer costs one pass per mask."""

    samples: int = Field(default=10, ge=1, le=1000, description="S, dropout masks, drawn once")


def _check(adapter: AdapterConfig, loss: LossConfig, snapshots: int, options: McDropoutOptions) -> None:
    if adapter.dropout == 0:
        raise ValueError("adapter.dropout is 0: mc_dropout needs more than 0, or all samples are equal")


def _fit(fitting: Fitting, options: McDropoutOptions) -> Finished:
    posterior = DropoutConfig(samples=options.samples, share=fitting.model.config.dropout, seed=fitting.seed)
    return Finished(posterior, dict(fitting.weights[0]))


MC_DROPOUT = PostHocMethod(options=McDropoutOptions, needs=one_lora, fit=_fit, check=_check)
