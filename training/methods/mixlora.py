"""MixLoRA's loss: cross entropy and load balance over routed experts; FEU is not trained (beta = 0)."""

from __future__ import annotations

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.training.losses import LossConfig, load_balance_loss
from uq4ct.training.methods.base import Forward, LossTerms, TrainedMethod, mean_cross_entropy


def _check(adapter: AdapterConfig, loss: LossConfig) -> None:
    """Require a router and no loss on FEU."""
    if not adapter.routed:
        raise ValueError(f"adapter.experts is {adapter.experts}: mixlora needs at least 2")
    if loss.calibration != 0:
        raise ValueError(f"loss.calibration is {loss.calibration}: mixlora needs 0, uq4ct allows more")
    if loss.indicator != "training":
        raise ValueError(f"loss.indicator is {loss.indicator!r}: mixlora has no calibration loss")
    check_no_l2(loss)


def check_no_l2(loss: LossConfig) -> None:
    """Raise ValueError if a penalty on B A is set; only lora has one."""
    if loss.l2 != 0:
        raise ValueError(f"loss.l2 is {loss.l2}: only lora supports it")


def mixture_losses(forward: Forward) -> LossTerms:
    """Return CE + alpha * load balance, for an adapter with routers."""
    routing = forward.output.routing
    if routing is None:
        raise ValueError("a load balance loss needs routers")
    batch, loss = forward.batch, forward.loss
    entropy = mean_cross_entropy(forward)
    balance = load_balance_loss(routing, loss.load_balance_form, forward.adapter.top_k)
    balance = balance * batch.step_share
    total = entropy + loss.load_balance * balance
    return LossTerms(total, {"cross_entropy": entropy.detach(), "load_balance": balance.detach()})


# A LoRA mixture of experts (Li et al. 2024).
MIXLORA = TrainedMethod(check=_check, losses=mixture_losses)
