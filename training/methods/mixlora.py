"""MixLoRA's loss: cross entropy and load balance over routed experts, FEU left to itself (beta = 0)."""

from __future__ import annotations

from model_store.adapters.config import AdapterConfig
from model_store.candidate_model import CandidateOutput
from training.batches import TrainingBatch
from training.loss_config import LossConfig
from training.losses import load_balance_loss
from training.methods.base import LossTerms, mean_cross_entropy


class MixLora:
    """A LoRA mixture of experts (Li et al. 2024) on every linear, one router a layer."""

    def check(self, adapter: AdapterConfig, loss: LossConfig) -> None:
        """Needs a router, and nothing that draws on FEU."""
        if not adapter.routed:
            raise ValueError(f"adapter.experts is {adapter.experts}: mixlora needs at least 2")
        if loss.calibration != 0:
            raise ValueError(f"loss.calibration is {loss.calibration}: mixlora has 0, uq4ct is the method with more")
        if loss.indicator != "training":
            raise ValueError(f"loss.indicator is {loss.indicator!r}: mixlora has no calibration loss to feed")

    def losses(
        self, output: CandidateOutput, batch: TrainingBatch, adapter: AdapterConfig, loss: LossConfig, step: int
    ) -> LossTerms:
        """CE + alpha * load balance."""
        assert output.routing is not None, "check() demands a router"
        entropy = mean_cross_entropy(output, batch)
        balance = load_balance_loss(output.routing, batch.tokens.real, loss.load_balance_form, adapter.top_k)
        balance = balance * batch.step_share
        total = entropy + loss.load_balance * balance
        return LossTerms(total, {"cross_entropy": entropy.detach(), "load_balance": balance.detach()})
