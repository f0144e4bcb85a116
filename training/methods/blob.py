"""BLoB: Bayesian LoRA by backprop, a Gaussian on every weight of A (Wang et al. 2024)."""

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
from uq4ct.model_store.posteriors.point import PointConfig
from uq4ct.model_store.posteriors.weight_gaussian import GaussianConfig, std_name
from uq4ct.training.methods.base import Finished, TrainedMethod, Variation
from uq4ct.training.methods.variational import bank_weights, check_variational, evidence_losses, part_variation

_ROOT = "root_std"


class BlobOptions(Frozen):
    """Prior and initial values of the Gaussians; an answer costs `samples` passes.

    `kl_weight` 1 is the evidence lower bound. The published code differs: after each step on the cross entropy it takes
    an SGD step on KL alone, with a weight that doubles from step to step over cycles of 100 N^(pi/8) / batch steps and
    adds up to 1 in each cycle. Here one optimizer minimises the sum, with the same weight in every step.
    """

    samples: int = Field(default=10, ge=0, le=1000, description="S, draws of the weights, made once; 0 = their mean")
    prior_std: float = Field(default=0.2, gt=0, description="prior std of every weight of A, around 0")
    initial_root: float = Field(default=0.05, gt=0, description="epsilon, upper end of the initial rho = sqrt(std)")
    kl_weight: float = Field(default=1.0, ge=0, description="coefficient of KL / N")


class WeightNoise(Variation):
    """q(A) = N(M, std^2) with std = rho^2 and M the bank's own A; B has no noise.

    `means` maps places to the banks' A [r, in]. The initial rho is uniform in [epsilon / sqrt 2, epsilon].
    """

    def __init__(self, means: Mapping[str, Tensor], options: BlobOptions) -> None:
        low, high = options.initial_root / math.sqrt(2), options.initial_root
        values = {place: torch.empty(mean.shape).uniform_(low, high) for place, mean in means.items()}
        super().__init__(_ROOT, values, kl_weight=options.kl_weight)
        self._means = dict(means)
        self._prior = options.prior_std

    def forward(
        self, place: str, bank: ExpertBank, inputs: Tensor, base_output: Tensor, gates: Tensor | None
    ) -> Tensor:
        """Return B (M + noise) x by Flipout (Wen et al. 2018); B M x in evaluation mode.

        The noise of a row of the batch is s t^T * std * epsilon with its own signs s [r] and t [in], the same for the
        whole sequence, like the weights of an answer; all rows share epsilon.
        """
        if not self.training:
            return bank(inputs, base_output, gates)
        dropped = bank.dropout(inputs)
        std = self.at(place).square()
        noise = (std * torch.randn_like(std)).to(inputs.dtype)
        low_rank = F.linear(dropped, bank.A.to(inputs.dtype))
        low_rank = low_rank + F.linear(dropped * _signs(inputs), noise) * _signs(low_rank)
        return bank.expand(bank.gate(low_rank, gates), base_output)

    def kl(self) -> Tensor:
        """Return KL(N(M, std^2) || N(0, prior_std^2)), summed over all weights of A."""
        return torch.stack([self._divergence(mean, self.at(place)) for place, mean in self._means.items()]).sum()

    def _divergence(self, mean: Tensor, root: Tensor) -> Tensor:
        variance = root.square().square()
        shares = (variance + mean.square()) / self._prior**2
        return 0.5 * (shares - 1 - (variance / self._prior**2).log()).sum()


def _signs(like: Tensor) -> Tensor:
    """Return independent signs [R, 1, n] for each row of [R, W, n]; the rows of a question have the same."""
    bits = draw_for_rows(len(like), lambda rows: torch.randint(2, (rows, 1, like.shape[-1]), device=like.device))
    return bits.to(like.dtype) * 2 - 1


def _variation(model: AdaptedModel, options: BlobOptions) -> WeightNoise:
    return WeightNoise(bank_weights(model), options)


def _finish(tensors: Mapping[str, Tensor], options: BlobOptions, seed: int) -> Finished:
    own, roots = part_variation(tensors, _ROOT)
    if options.samples == 0:
        return Finished(PointConfig(), own)
    stds = {std_name(place): root.square() for place, root in roots.items()}
    return Finished(GaussianConfig(samples=options.samples, seed=seed), own | stds)


BLOB = TrainedMethod(
    check=check_variational, losses=evidence_losses, options=BlobOptions, variation=_variation, finish=_finish
)
