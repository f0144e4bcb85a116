"""The marginal likelihood of a Laplace posterior, and the prior precision that maximises it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOWEST, HIGHEST = 1e-6, 1e9  # prior precisions that are searched
HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the evidence is made of: the training questions' `log_likelihood` in nats, the `squared_norm` of the trained
    weights, and all eigenvalues of the curvature that are not 0 by rank, float64 [n]."""

    log_likelihood: float
    squared_norm: float
    curvature: Tensor

    def log_marginal_likelihood(self, precision: float) -> float:
        """LL - precision * |w|^2 / 2 + (n log precision - log det P) / 2, in nats (MacKay 1992).

        P is precision * I + the curvature; where there is no curvature, its determinant and the prior's cancel.
        """
        occam = torch.log1p(self.curvature / precision).sum().item()
        return self.log_likelihood - precision * self.squared_norm / 2 - occam / 2

    def best_precision(self) -> float:
        """The prior precision of largest evidence among those searched.

        Its derivative by the log of the precision is half the effective number of parameters, which falls, minus half
        of precision * |w|^2, which rises: there is one maximum, where they meet.
        """
        low, high = math.log(LOWEST), math.log(HIGHEST)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            rising = self._effective_parameters(math.exp(middle)) > math.exp(middle) * self.squared_norm
            low, high = (middle, high) if rising else (low, middle)
        return math.exp((low + high) / 2)

    def _effective_parameters(self, precision: float) -> float:
        return (self.curvature / (self.curvature + precision)).sum().item()
