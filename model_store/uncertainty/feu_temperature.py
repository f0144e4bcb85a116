"""A temperature per question, from its FEU: lower where the routers are confident."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.nll_search import Loss, lowest_of, minimise_over
from uq4ct.model_store.uncertainty.proper_scores import check_answers
from uq4ct.model_store.uncertainty.soft_targets import cross_entropy, soften
from uq4ct.model_store.uncertainty.temperature import TEMPERATURE_RANGE

PRIOR_QUESTIONS = 20  # questions answered as the model says that a fit counts beside its own; chosen by simulation
_PENALTY = 1e-4  # on the squared slopes: a slope that the split does not determine stays at 0
_LEVELS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
_FEU_SLOPES = (-3.0, 0.5, 2.0, 5.0, 15.0)  # before softplus: 0.05, 1, 2, 5, 15
_OPTIONS_SLOPES = (-4.0, -2.0, 0.0, 2.0, 4.0)


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

    def at_bound(self, logits: Tensor, feu: Tensor) -> bool:
        """Whether the temperature of one of these questions, as in `divide`, is at an end of TEMPERATURE_RANGE."""
        low, high = map(math.log, TEMPERATURE_RANGE)
        values = torch.tensor([self.level, self.feu_slope, self.options_slope], dtype=torch.float64)
        found = _log_temperature(logits, feu.double() - self.feu_center, values)
        return bool(((found <= low + 1e-6) | (found >= high - 1e-6)).any())


def fit_feu_temperature(
    logits: Tensor, feu: Tensor, answers: Tensor, prior_questions: float = PRIOR_QUESTIONS
) -> FeuTemperature:
    """Fit the parameters that minimise cross entropy + 1e-4 (feu_slope^2 + options_slope^2), with feu_slope >= 0.

    `logits` [S, B, C] with -inf at padded candidates, `feu` [B], `answers` long [B]. The cross entropy is that of the
    sample-mean probabilities, with targets softened by `prior_questions` (see `soft_targets`): the fewer the questions,
    the closer the temperatures stay to 1. The number of options is used only if it varies. The loss may have several
    minima; the search starts from those of a grid, and from those of a grid without a slope of FEU.
    Raises ValueError on shapes that do not match and on an answer that is not a candidate.
    """
    check_answers(answers, questions=logits.shape[1], candidates=logits.shape[2])
    if feu.shape != answers.shape:
        raise ValueError(f"feu must be [{len(answers)}], not {list(feu.shape)}")
    center = feu.double().mean()
    doubles, centered = logits.double(), feu.double() - center
    targets = soften(doubles.softmax(dim=-1).mean(dim=0), answers, prior_questions)

    def loss(values: Tensor) -> Tensor:
        probabilities = _divide(doubles, centered, values).softmax(dim=-1).mean(dim=0)
        return cross_entropy(targets, probabilities) + _PENALTY * values[1:].square().sum()

    counts = _options(logits)
    options_slopes = _OPTIONS_SLOPES if (counts != counts[0]).any() else None
    level, feu_slope, options_slope = _search(loss, options_slopes).tolist()
    return FeuTemperature(level, feu_slope, options_slope, center.item())


def _search(loss: Loss, options_slopes: Sequence[float] | None) -> Tensor:
    """Return level, slope of FEU and slope of the options (0 if None) of lowest loss.

    A slope of FEU of exactly 0 is searched on its own: softplus only approaches it.
    """
    others = () if options_slopes is None else (options_slopes,)

    def sloped(theta: Tensor) -> Tensor:
        slope = torch.nn.functional.softplus(theta[1])
        return torch.stack([theta[0], slope, *(theta[2:] if others else theta.new_zeros(1))])

    def level_only(theta: Tensor) -> Tensor:
        return torch.stack([theta[0], theta.new_zeros(()), *(theta[1:] if others else theta.new_zeros(1))])

    found = sloped(minimise_over(lambda theta: loss(sloped(theta)), (_LEVELS, _FEU_SLOPES, *others)))
    without = level_only(minimise_over(lambda theta: loss(level_only(theta)), (_LEVELS, *others)))
    return lowest_of(loss, [found, without])


def _divide(logits: Tensor, centered: Tensor, values: Tensor) -> Tensor:
    low, high = map(math.log, TEMPERATURE_RANGE)
    temperature = _log_temperature(logits, centered, values).clamp(low, high).exp()
    # A padded candidate's -inf has no gradient, and would leave the parameters without one.
    divided = torch.where(logits.isfinite(), logits, 0.0) / temperature[None, :, None]
    return torch.where(logits.isfinite(), divided, logits)


def _log_temperature(logits: Tensor, centered: Tensor, values: Tensor) -> Tensor:
    """Return log T of each question before it is clamped: float64 [B]."""
    return values[0] - values[1] * centered + values[2] * (_options(logits) / 4).log()


def _options(logits: Tensor) -> Tensor:
    return logits[0].isfinite().sum(dim=-1).double()
