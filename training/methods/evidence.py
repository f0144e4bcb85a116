"""The prior precision that maximises the marginal likelihood (evidence) of a Laplace posterior."""

from __future__ import annotations

import math

from torch import Tensor

LOWEST, HIGHEST = 1e-6, 1e9  # prior precisions that are searched
HALVINGS = 60


def best_precision(curvature: Tensor, squared_norm: float) -> float:
    """Return the prior precision of largest evidence in the range searched.

    The evidence is LL - precision * |w|^2 / 2 + (n log precision - log det P) / 2 in nats (MacKay 1992), where P is
    precision * I + the curvature. `curvature` holds the eigenvalues of the curvature, float64 [n], without those that
    are 0 by rank; `squared_norm` is |w|^2 of the trained weights. The derivative by the log of the precision is half
    the effective number of parameters, which falls, minus half of precision * |w|^2, which rises: they meet at the only
    maximum.
    """
    low, high = math.log(LOWEST), math.log(HIGHEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        rising = _effective_parameters(curvature, math.exp(middle)) > math.exp(middle) * squared_norm
        low, high = (middle, high) if rising else (low, middle)
    return math.exp((low + high) / 2)


def _effective_parameters(curvature: Tensor, precision: float) -> float:
    return (curvature / (curvature + precision)).sum().item()
