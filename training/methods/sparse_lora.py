"""Bayesian sparse LoRA: each rank of an update is kept with a learned probability (DALorRA, arXiv 2607.02182)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from uq4ct.model_store.adapted_model import AdaptedModel
from uq4ct.model_store.adapters.context import draw_for_rows
from uq4ct.model_store.adapters.expert_bank import ExpertBank
from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.posteriors.rank_mask import RankMaskConfig, gate_name
from uq4ct.training.methods.base import Finished, TrainedMethod, Variation
from uq4ct.training.methods.variational import bank_weights, check_variational, evidence_losses, part_variation

_LOGITS = "gate_logits"


class SparseLoraOptions(Frozen):
    """Prior and noise of the gates; an answer costs `samples` passes.

    A gate is 0 or 1, without rescaling for the ranks that are off: at the start the expected update is `p0` times B A.
    The source gives neither the prior nor the temperature; the defaults are our choice.
    """

    p0: float = Field(default=0.5, gt=0, lt=1, description="prior and initial probability that a rank is kept")
    tau: float = Field(default=0.5, gt=0, description="temperature of the relaxed gates; near 0 they become 0 or 1")
    gate_learning_rate: float = Field(default=1e-2, gt=0, description="peak learning rate of the gates' logits")
    samples: int = Field(default=10, ge=1, le=1000, description="S, masks, drawn once")


class RankGates(Variation):
    """Binary concrete gates z_j = sigmoid((phi_j + logit u) / tau) on rank j, one draw per sequence.

    Evaluation uses sigmoid(phi_j). `ranks` maps places to the ranks of their banks.
    """

    def __init__(self, ranks: Mapping[str, int], options: SparseLoraOptions) -> None:
        start = math.log(options.p0 / (1 - options.p0))
        values = {place: torch.full((rank,), start) for place, rank in ranks.items()}
        super().__init__(_LOGITS, values, learning_rate=options.gate_learning_rate)
        self._start = start
        self._tau = options.tau

    def forward(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Return B (z * A x), where z is the mean in evaluation mode."""
        kept = self._draw(self.at(place), len(inputs)) if self.training else self.at(place).sigmoid()
        low_rank = bank.project(inputs)
        return bank.expand(bank.gate(low_rank * kept.to(low_rank.dtype), gates), base_output)

    def kl(self) -> Tensor:
        """Return the sum of KL(Bern(q) || Bern(p0)) = q (phi - phi_0) - softplus(phi) + softplus(phi_0), first 0.

        This is the divergence of the hard gates of an answer; training approximates them by relaxed gates.
        """
        return torch.stack([self._divergence(logits) for logits in self.tensors().values()]).sum()

    def _draw(self, logits: Tensor, rows: int) -> Tensor:
        """Draw relaxed gates [rows, 1, r]; the rows of a question have the same."""
        uniform = draw_for_rows(rows, lambda count: torch.rand(count, 1, len(logits), device=logits.device))
        return ((logits + uniform.logit()) / self._tau).sigmoid()

    def _divergence(self, logits: Tensor) -> Tensor:
        start = torch.full_like(logits, self._start)
        return (logits.sigmoid() * (logits - start) - F.softplus(logits) + F.softplus(start)).sum()


def _variation(model: AdaptedModel, options: SparseLoraOptions) -> RankGates:
    return RankGates({place: len(weight) for place, weight in bank_weights(model).items()}, options)


def _finish(tensors: Mapping[str, Tensor], options: SparseLoraOptions, seed: int) -> Finished:
    own, logits = part_variation(tensors, _LOGITS)
    probabilities = {gate_name(place): value.sigmoid() for place, value in logits.items()}
    return Finished(RankMaskConfig(samples=options.samples, seed=seed), own | probabilities)


# L = E[NLL] + KL: the divergence has weight 1 and is divided by the number of training questions.
SPARSE_LORA = TrainedMethod(
    check=check_variational, losses=evidence_losses, options=SparseLoraOptions, variation=_variation, finish=_finish
)
