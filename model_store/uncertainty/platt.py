"""Platt scaling of candidate probabilities: a line on their log-odds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.nll_search import minimise_over
from uq4ct.model_store.uncertainty.soft_targets import cross_entropy, soften

PRIOR_QUESTIONS = 25  # questions answered as the model says that a fit counts beside its own; chosen by simulation
_EDGE = 1e-12  # probabilities are clamped this far from 0 and 1
_LOG_SLOPE_RANGE = 5.0
_INTERCEPT_RANGE = 50.0
_AT_BOUND = 0.99  # share of a range
_PENALTY = 1e-4  # on the squares of log slope and intercept: where the loss is flat, the map closest to the identity
_GRID = (  # of the log slope and the shift of the mean log-odds
    (-4.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0),
    (-20.0, -8.0, -4.0, -2.0, 0.0, 2.0, 4.0, 8.0, 20.0),
)


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

    @property
    def at_bound(self) -> bool:
        """Whether slope or intercept is at an end of the range of a fit."""
        shares = abs(math.log(self.slope)) / _LOG_SLOPE_RANGE, abs(self.intercept) / _INTERCEPT_RANGE
        return max(shares) > _AT_BOUND

    def apply(self, probabilities: Tensor) -> Tensor:
        """Calibrate `probabilities` [B, C]: float64 [B, C]; 0 (a padded candidate) stays 0."""
        return _apply(probabilities.double(), torch.tensor(self.slope), torch.tensor(self.intercept))


def fit_platt(probabilities: Tensor, answers: Tensor, prior_questions: float = PRIOR_QUESTIONS) -> Platt:
    """Fit the line that minimises cross entropy + 1e-4 (log(slope)^2 + intercept^2).

    `probabilities` [B, C] with 0 at padded candidates, `answers` long [B]. The cross entropy is that of the mapped
    probabilities after the division by their sum, with targets softened by `prior_questions` (see `soft_targets`): the
    fewer the questions, the closer the line stays to the identity. The slope stays between 1/148 and 148, the intercept
    between -50 and 50. The loss may have several minima; the search starts from those of a grid.
    Raises ValueError on an answer that is not a candidate.
    Source: Platt 1999; one map for all candidates and the division by their sum as in Zadrozny and Elkan 2002.
    """
    doubles = probabilities.double()
    targets = soften(doubles, answers, prior_questions)
    center = torch.logit(doubles[doubles > 0], eps=_EDGE).mean()

    def loss(theta: Tensor) -> Tensor:
        log_slope, intercept = _bounded(theta, center)
        penalty = _PENALTY * (log_slope.square() + intercept.square())
        return cross_entropy(targets, _apply(doubles, log_slope.exp(), intercept)) + penalty

    log_slope, intercept = _bounded(minimise_over(loss, _GRID), center)
    return Platt(log_slope.exp().item(), intercept.item())


def _bounded(theta: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
    """Return log slope and intercept from two unbounded numbers; the second is the shift of the log-odds `center`.

    So the slope turns the line around the middle of the data, and the two numbers hardly interact.
    """
    log_slope = _LOG_SLOPE_RANGE * torch.tanh(theta[0] / _LOG_SLOPE_RANGE)
    intercept = theta[1] - (log_slope.exp() - 1) * center
    return log_slope, _INTERCEPT_RANGE * torch.tanh(intercept / _INTERCEPT_RANGE)


def _apply(probabilities: Tensor, slope: Tensor, intercept: Tensor) -> Tensor:
    mapped = torch.sigmoid(slope * torch.logit(probabilities, eps=_EDGE) + intercept)
    return normalise(torch.where(probabilities > 0, mapped, 0.0))


def normalise(values: Tensor) -> Tensor:
    """Divide non-negative values [B, C] by their sum over the candidates."""
    return values / values.sum(dim=-1, keepdim=True)
