"""Plain LoRA: one expert, no router, cross entropy alone."""

from __future__ import annotations

from model_store.adapters.config import AdapterConfig
from model_store.candidate_model import CandidateOutput
from training.batches import TrainingBatch
from training.loss_config import LossConfig
from training.methods.base import LossTerms, mean_cross_entropy


class Lora:
    """Low-rank adaptation (Hu et al. 2021)."""

    def check(self, adapter: AdapterConfig, loss: LossConfig) -> None:
        """One expert only; there is no router that a loss could reach."""
        if adapter.routed:
            raise ValueError(f"adapter.experts is {adapter.experts}: lora has 1 expert (and top_k 1)")
        if loss.indicator != "training":
            raise ValueError(f"loss.indicator is {loss.indicator!r}: lora has no FEU to hold questions out for")

    def losses(
        self, output: CandidateOutput, batch: TrainingBatch, adapter: AdapterConfig, loss: LossConfig, step: int
    ) -> LossTerms:
        """Cross entropy."""
        value = mean_cross_entropy(output, batch)
        return LossTerms(value, {"cross_entropy": value.detach()})
