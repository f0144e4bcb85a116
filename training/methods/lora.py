"""Plain LoRA: one expert, no router, cross entropy and optionally a penalty on B A."""

from __future__ import annotations

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.training.losses import LossConfig, squared_product_norm
from uq4ct.training.methods.base import Forward, LossTerms, TrainedMethod, mean_cross_entropy


def check_plain(adapter: AdapterConfig, loss: LossConfig) -> None:
    """Raise ValueError if there is more than one expert, or a loss that needs a router."""
    if adapter.routed:
        raise ValueError(f"adapter.experts is {adapter.experts}: this method needs 1 expert (and top_k 1)")
    if loss.indicator != "training":
        raise ValueError(
            f"loss.indicator is {loss.indicator!r}: without routers there is no FEU to hold questions out for"
        )


def _losses(forward: Forward) -> LossTerms:
    """Return cross entropy + l2 * the squared norm of B A over all linears."""
    entropy = mean_cross_entropy(forward)
    parts = {"cross_entropy": entropy.detach()}
    if forward.loss.l2 == 0:
        return LossTerms(entropy, parts)
    norm = squared_product_norm(forward.model.adapter_tensors()) * forward.batch.step_share
    return LossTerms(entropy + forward.loss.l2 * norm, parts | {"l2": norm.detach()})


# Low-rank adaptation (Hu et al. 2021).
LORA = TrainedMethod(check=check_plain, losses=_losses)
