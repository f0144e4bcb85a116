"""Platt scaling of candidate probabilities: a line on their log-odds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.nll_search import minimise
from uq4ct.model_store.uncertainty.proper_scores import negative_log_likelihood

_EDGE = 1e-12  # probabilities are clamped this far from 0 and 1
# If every answer is right, no finite line is best, and the search ends at these bounds.
_LOG_SLOPE_RANGE = 5.0
_INTERCEPT_RANGE = 50.0


@dataclass(frozen=True, slots=True)
class Platt:
    """p -> sigmoid(slope * logit(p) + intercept), applied per candidate and divided by their sum.

    Raises ValueError unless the slope is positive and both are finite, so that the candidates keep their order.
    """

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not 0 < self.slope < math.inf or not math.isfinite(self.intercept):
            raise ValueError(f"slope must be above 0, and both finite, not {self.slope} and {self.intercept}")

    def apply(self, probabilities: Tensor) -> Tensor:
        """Calibrate `probabilities` [B, C]: float64 [B, C]; 0 (a padded candidate) stays 0."""
        return _apply(probabilities.double(), torch.tensor(self.slope), torch.tensor(self.intercept))


def fit_platt(probabilities: Tensor, answers: Tensor) -> Platt:
    """Fit the line of lowest NLL; `probabilities` [B, C] with 0 at padded candidates, `answers` long [B].

    The slope stays between 1/148 and 148, the intercept between -50 and 50.

    Raises ValueError on an answer that is not a candidate.
    Source: Platt 1999; one map for all candidates and the division by their sum as in Zadrozny and Elkan 2002.
    """
    doubles = probabilities.double()

    def loss(theta: Tensor) -> Tensor:
        return negative_log_likelihood(_apply(doubles, *_bounded(theta)), answers).mean()

    slope, intercept = _bounded(minimise(loss, torch.zeros(2)))
    return Platt(slope.item(), intercept.item())


def _bounded(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return slope and intercept from two unbounded numbers."""
    log_slope = _LOG_SLOPE_RANGE * torch.tanh(theta[0] / _LOG_SLOPE_RANGE)
    return log_slope.exp(), _INTERCEPT_RANGE * torch.tanh(theta[1] / _INTERCEPT_RANGE)


def _apply(probabilities: Tensor, slope: Tensor, intercept: Tensor) -> Tensor:
    mapped = torch.sigmoid(slope * torch.logit(probabilities, eps=_EDGE) + intercept)
    return normalise(torch.where(probabilities > 0, mapped, 0.0))


def normalise(values: Tensor) -> Tensor:
    """Divide non-negative values [B, C] by their sum over the candidates."""
    return values / values.sum(dim=-1, keepdim=True)
