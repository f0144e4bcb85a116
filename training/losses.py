"""The training losses and their settings: pure functions on tensors. Equation numbers are those of the UQ4CT paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.adapters.router import Routing
from uq4ct.model_store.frozen import Frozen


class LossConfig(Frozen):
    """The loss terms besides the cross entropy (equation 11)."""

    load_balance: float = Field(default=0.01, ge=0, description="alpha, coefficient of the load balance loss")
    load_balance_form: Literal["argmax", "top_k"] = Field(default="argmax", description="which experts count as chosen")
    l2: float = Field(default=0.0, ge=0, description="coefficient of the squared norm of B A; lora only")
    calibration: float = Field(default=1.0, ge=0, description="beta, coefficient of the calibration loss")
    calibration_ramp_steps: int = Field(
        default=0, ge=0, description="steps over which beta rises (equation 12); 0 = constant"
    )
    indicator: Literal["training", "held_out"] = Field(
        default="training",
        description="questions whose correctness is the target of FEU: those of the batch, or held-out ones",
    )
    held_out_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of the training questions held out for FEU"
    )


def cross_entropy(logits: Tensor, answers: Tensor) -> Tensor:
    """Return the cross entropy over the candidates in nats, [B] (CE in equation 11).

    `logits` [B, C] with -inf at absent candidates, `answers` [B].
    """
    return F.cross_entropy(logits.float(), answers, reduction="none")


def calibration_loss(feu: Tensor, correct: Tensor) -> Tensor:
    """Return the squared distance between FEU [B] and the indicator of a right answer [B] (equation 10): [B].

    The indicator is detached: gradients reach the routers through FEU alone.
    """
    return (correct.detach().to(feu.dtype) - feu).square()


def load_balance_loss(routing: Sequence[Routing], form: Literal["argmax", "top_k"], top_k: int) -> Tensor:
    """Return N * sum_i F_i P_i (equations 13 and 14), without its coefficient.

    `routing` has one entry per layer, for the tokens that count. F is the share of tokens sent to an expert, P its mean
    probability under the full softmax. `argmax` counts each token's first expert, layer by layer, and averages over
    layers: 1 when balanced. `top_k` is MixLoRA's form: it counts all kept experts, over the tokens of all layers
    together: k when balanced.
    """
    probabilities = torch.stack([layer.probabilities for layer in routing])  # [L, tokens, N]
    experts = probabilities.shape[-1]
    chosen = probabilities.topk(1 if form == "argmax" else top_k, dim=-1).indices
    sent = F.one_hot(chosen, experts).sum(dim=-2).to(probabilities.dtype)
    if form == "argmax":
        return experts * (sent.mean(dim=1) * probabilities.mean(dim=1)).sum(dim=-1).mean()
    return experts * (sent.mean(dim=(0, 1)) * probabilities.mean(dim=(0, 1))).sum()


def squared_product_norm(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the sum over all linears of the squared Frobenius norm of B A, a scalar, without forming B A.

    `tensors` maps stored names to an adapter's tensors. Source: Balabanov and Linander 2024, as a prior on the weights.
    """
    norms = [
        ((A @ A.T) * (tensors[f"{name[:-2]}.B"].T @ tensors[f"{name[:-2]}.B"])).sum()
        for name, A in tensors.items()
        if name.endswith(".A")
    ]
    return torch.stack(norms).sum()


def calibration_weight(beta: float, step: int, ramp_steps: int) -> float:
    """Return beta at a step counted from 1: constant, or ramped linearly over the first `ramp_steps` (equation 12)."""
    return beta if ramp_steps == 0 else beta * min(1.0, step / ramp_steps)
