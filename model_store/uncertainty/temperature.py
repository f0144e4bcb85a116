"""Temperature scaling: a fitted number that divides the candidate logits of every sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.proper_scores import check_answers
from uq4ct.model_store.uncertainty.soft_targets import soften

TEMPERATURE_RANGE = (0.05, 20.0)
PRIOR_QUESTIONS = 15  # questions answered as the model says that a fit counts beside its own; chosen by simulation

# Each round of the search keeps the two cells around the best point: 6 rounds narrow log T by 16 ** 6.
_GRID_POINTS = 33
_ROUNDS = 6


@dataclass(frozen=True, slots=True)
class Temperature:
    """A temperature: above 1 it lowers confidence, below 1 it raises it. Raises ValueError unless 0 < value < inf."""

    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise ValueError(f"temperature must be positive and finite, not {self.value}")

    @property
    def at_bound(self) -> bool:
        """Whether it is at an end of TEMPERATURE_RANGE."""
        low, high = TEMPERATURE_RANGE
        return not low * (1 + 1e-6) < self.value < high * (1 - 1e-6)

    def divide(self, logits: Tensor) -> Tensor:
        """Divide logits of any shape by the temperature, in float64; -inf (a padded candidate) stays -inf.

        With one sample (S = 1) the order of the candidates and so the chosen option do not change; a mean over several
        samples may choose another option.
        """
        return logits.double() / self.value


def fit_temperature(logits: Tensor, answers: Tensor, prior_questions: float = PRIOR_QUESTIONS) -> Temperature:
    """Fit the temperature in TEMPERATURE_RANGE that minimises the cross entropy of the sample-mean probabilities.

    `logits` [S, B, C] with -inf at padded candidates, `answers` long [B]. The targets are softened by `prior_questions`
    (see `soft_targets`): the fewer the questions, the closer the temperature stays to 1. The search runs over log T on
    grids that narrow around the best point; its first grid spans the whole range, because with S > 1 the loss may have
    several minima. If the best value is outside the range, the result is the end of the range.
    Raises ValueError on fewer than 2 questions, on an answer that is out of range or padded, on logits that are NaN or
    +inf, and when the loss is the same at every temperature.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2, without the softening.
    """
    _check_fit(logits, answers)
    targets = soften(logits.double().softmax(dim=-1).mean(dim=0), answers, prior_questions)
    low, high = (math.log(bound) for bound in TEMPERATURE_RANGE)
    best = 0.0
    for search_round in range(_ROUNDS):
        grid = torch.linspace(low, high, _GRID_POINTS, dtype=torch.float64).tolist()
        losses = [_cross_entropy(Temperature(math.exp(log_value)).divide(logits), targets) for log_value in grid]
        if search_round == 0 and max(losses) - min(losses) < 1e-12:
            raise ValueError(f"logits do not determine a temperature: the loss is {losses[0]} at every temperature")
        index = losses.index(min(losses))
        best, low, high = grid[index], grid[max(index - 1, 0)], grid[min(index + 1, _GRID_POINTS - 1)]
    return Temperature(math.exp(best))


def _cross_entropy(logits: Tensor, targets: Tensor) -> float:
    # In logarithms throughout: a probability that would underflow still depends on the temperature.
    logs = logits.log_softmax(dim=-1).logsumexp(dim=0) - math.log(logits.shape[0])
    return -torch.where(targets > 0, targets * logs, 0.0).sum(dim=-1).mean().item()


def _check_fit(logits: Tensor, answers: Tensor) -> None:
    if logits.ndim != 3 or logits.shape[0] == 0:
        raise ValueError(f"logits must be [S, B, C] with S >= 1, not {list(logits.shape)}")
    if logits.shape[1] < 2:
        raise ValueError(f"a temperature needs at least 2 questions, not {logits.shape[1]}")
    if logits.isnan().any() or logits.isposinf().any():
        raise ValueError("logits contain NaN or +inf")
    check_answers(answers, questions=logits.shape[1], candidates=logits.shape[2])
    padded = logits[:, torch.arange(len(answers), device=answers.device), answers].isneginf().any(dim=0)
    if padded.any():
        raise ValueError(f"answers name a padded candidate in the questions {padded.nonzero().flatten().tolist()}")
