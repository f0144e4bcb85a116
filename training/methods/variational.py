"""Shared by the methods that train a distribution of weights: plain LoRA, and the evidence lower bound as the loss."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.posteriors.draws import bank_places
from uq4ct.training.losses import LossConfig
from uq4ct.training.methods.base import VARIATION_PREFIX, Forward, LossTerms, mean_cross_entropy
from uq4ct.training.methods.lora import check_plain
from uq4ct.training.methods.mixlora import check_no_l2


def check_variational(adapter: AdapterConfig, loss: LossConfig) -> None:
    """Require one expert and no penalty on B A: the divergence from the prior is the penalty."""
    check_plain(adapter, loss)
    check_no_l2(loss)


def evidence_losses(forward: Forward) -> LossTerms:
    """Return CE under the noise + kl_weight * KL / N: the negative evidence lower bound per question, of N questions.

    Both terms are a forward's share of the step's mean, so the forwards of a step count the divergence once.
    """
    variation = forward.variation
    if variation is None:
        raise ValueError("an evidence lower bound needs a variation")
    entropy = mean_cross_entropy(forward)
    divergence = variation.kl() / forward.train_questions * forward.batch.step_share
    total = entropy + variation.kl_weight * divergence
    return LossTerms(total, {"cross_entropy": entropy.detach(), "kl": divergence.detach()})


def bank_weights(model: AdaptedModel) -> dict[str, Tensor]:
    """Return A [r, in] of every bank by its place: the parameters themselves."""
    tensors = model.adapter_tensors()
    return {place: tensors[f"{place}.A"] for place in bank_places(tensors)}


def part_variation(tensors: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Split a run's tensors into the adapter's own, by name, and the variation's `name`, by place."""
    own = {key: tensor for key, tensor in tensors.items() if not key.startswith(VARIATION_PREFIX)}
    varied = {
        key.removeprefix(VARIATION_PREFIX).removesuffix(f".{name}"): tensor
        for key, tensor in tensors.items()
        if key.startswith(VARIATION_PREFIX)
    }
    return own, varied
