"""UQ4CT: experts with a routing certainty that is trained to predict correctness (equations 10 to 14)."""

from __future__ import annotations

import torch

from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.training.losses import LossConfig, calibration_loss, calibration_weight
from uq4ct.training.methods.base import Forward, LossTerms, TrainedMethod
from uq4ct.training.methods.mixlora import check_no_l2, mixture_losses


def _check(adapter: AdapterConfig, loss: LossConfig) -> None:
    """Require a router that leaves experts out, and a positive beta."""
    if not adapter.routed:
        raise ValueError(f"adapter.experts is {adapter.experts}: uq4ct needs at least 2")
    if adapter.top_k == adapter.experts:
        raise ValueError(f"adapter.top_k is {adapter.top_k} of {adapter.experts} experts: FEU would always be 1")
    if loss.calibration <= 0:
        raise ValueError(f"loss.calibration is {loss.calibration}: uq4ct needs more than 0; for 0 use mixlora")
    check_no_l2(loss)


def _losses(forward: Forward) -> LossTerms:
    """Return CE + alpha * load balance + beta * calibration loss.

    The indicator is the correctness of the trained questions, or of those held out from the cross entropy: the former
    saturates at 1 once the model has memorised its training questions.
    """
    mixture = mixture_losses(forward)
    output, batch, loss = forward.output, forward.batch, forward.loss
    if output.feu is None:
        raise ValueError("a calibration loss needs routers")
    correct = output.logits.argmax(dim=-1) == batch.answers
    distance = calibration_loss(output.feu, correct)
    counted = batch.held_out if loss.indicator == "held_out" else ~batch.held_out
    questions = batch.step_held_out if loss.indicator == "held_out" else batch.step_trained
    calibration = torch.where(counted, distance, 0.0).sum().float() / max(questions, 1)
    beta = calibration_weight(loss.calibration, forward.step, loss.calibration_ramp_steps)
    total = mixture.total + beta * calibration
    return LossTerms(total, mixture.parts | {"calibration": calibration.detach()})


# Functional-level uncertainty quantification for calibrated fine-tuning.
UQ4CT = TrainedMethod(check=_check, losses=_losses)
