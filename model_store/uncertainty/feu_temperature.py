"""A temperature per question, from its FEU: lower where the routers are confident."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.nll_search import minimise
from uq4ct.model_store.uncertainty.proper_scores import check_answers, negative_log_likelihood
from uq4ct.model_store.uncertainty.temperature import TEMPERATURE_RANGE

_PENALTY = 1e-4  # on the squared slopes: a slope that the split does not determine stays at 0
_START = -3.0  # softplus(-3) = 0.05: almost one temperature for all


@dataclass(frozen=True, slots=True)
class FeuTemperature:
    """log T = level - feu_slope * (FEU - feu_center) + options_slope * log(options / 4), T within TEMPERATURE_RANGE.

    Raises ValueError if `feu_slope` is negative (a confident router would lower confidence) or a parameter is not
    finite.
    """

    level: float
    feu_slope: float
    options_slope: float
    feu_center: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.level, self.feu_slope, self.options_slope, self.feu_center))):
            raise ValueError(f"parameters must be finite: {self}")
        if self.feu_slope < 0:
            raise ValueError(f"feu_slope must be at least 0, not {self.feu_slope}")

    def divide(self, logits: Tensor, feu: Tensor) -> Tensor:
        """Divide the logits [S, B, C] of every sample by their question's temperature, in float64; `feu` [B].

        With one sample, the order of the candidates and so the chosen option do not change.
        """
        values = torch.tensor([self.level, self.feu_slope, self.options_slope], dtype=torch.float64)
        return _divide(logits.double(), feu.double() - self.feu_center, values)


def fit_feu_temperature(logits: Tensor, feu: Tensor, answers: Tensor) -> FeuTemperature:
    """Fit the three parameters of lowest mean NLL of the sample-mean probabilities.

    `logits` [S, B, C] with -inf at padded candidates, `feu` [B], `answers` long [B]. The number of options is used
    only if it varies. Raises ValueError on shapes that do not match and on an answer that is not a candidate.
    """
    check_answers(answers, questions=logits.shape[1], candidates=logits.shape[2])
    if feu.shape != answers.shape:
        raise ValueError(f"feu must be [{len(answers)}], not {list(feu.shape)}")
    center = feu.double().mean()
    counts = _options(logits)
    varied = bool((counts != counts[0]).any())
    doubles, centered = logits.double(), feu.double() - center

    def parameters(theta: Tensor) -> Tensor:
        slope = theta[2] if varied else torch.zeros_like(theta[2])
        return torch.stack([theta[0], torch.nn.functional.softplus(theta[1]), slope])

    def loss(theta: Tensor) -> Tensor:
        values = parameters(theta)
        probabilities = _divide(doubles, centered, values).softmax(dim=-1).mean(dim=0)
        return negative_log_likelihood(probabilities, answers).mean() + _PENALTY * values[1:].square().sum()

    found = parameters(minimise(loss, torch.tensor([0.0, _START, 0.0])))
    level, feu_slope, options_slope = found.tolist()
    return FeuTemperature(level, feu_slope, options_slope, center.item())


def _divide(logits: Tensor, centered: Tensor, values: Tensor) -> Tensor:
    low, high = map(math.log, TEMPERATURE_RANGE)
    log_temperature = values[0] - values[1] * centered + values[2] * (_options(logits) / 4).log()
    # A padded candidate's -inf has no gradient, and would leave the parameters without one.
    divided = torch.where(logits.isfinite(), logits, 0.0) / log_temperature.clamp(low, high).exp()[None, :, None]
    return torch.where(logits.isfinite(), divided, logits)


def _options(logits: Tensor) -> Tensor:
    return logits[0].isfinite().sum(dim=-1).double()
