"""Isotonic regression of candidate probabilities: the best-fitting increasing map, without a parametric form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.platt import normalise
from uq4ct.model_store.uncertainty.proper_scores import check_answers
from uq4ct.model_store.uncertainty.soft_targets import prior_share

PRIOR_QUESTIONS = 20  # number of questions at which fit and identity have equal weights; chosen by simulation


@dataclass(frozen=True, slots=True)
class Isotonic:
    """An increasing, piecewise linear map through (knots, values), applied per candidate and divided by their sum.

    Raises ValueError unless knots rise from 0 to 1, and values do not fall and lie inside (0, 1).
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.knots, self.knots[1:], strict=False))
        if not rising or self.knots[:1] != (0.0,) or self.knots[-1:] != (1.0,):
            raise ValueError(f"knots must rise from 0 to 1, not {list(self.knots)}")
        if len(self.values) != len(self.knots) or list(self.values) != sorted(self.values):
            raise ValueError(f"values must not fall and must have one entry per knot, not {self.values}")
        if not 0 < self.values[0] <= self.values[-1] < 1:
            raise ValueError(f"values must lie inside (0, 1), not {self.values[0]} to {self.values[-1]}")

    def apply(self, probabilities: Tensor) -> Tensor:
        """Calibrate `probabilities` [B, C]: float64 [B, C]; 0 (a padded candidate) stays 0."""
        inputs = probabilities.double()
        knots, values = torch.tensor(self.knots, dtype=torch.float64), torch.tensor(self.values, dtype=torch.float64)
        right = torch.searchsorted(knots, inputs.contiguous()).clamp(1, len(knots) - 1)
        share = (inputs - knots[right - 1]) / (knots[right] - knots[right - 1])
        mapped = torch.lerp(values[right - 1], values[right], share)
        return normalise(torch.where(inputs > 0, mapped, 0.0))


def fit_isotonic(probabilities: Tensor, answers: Tensor, prior_questions: float = PRIOR_QUESTIONS) -> Isotonic:
    """Fit the map from a candidate's probability to the share of such candidates that are right.

    `probabilities` [B, C] with 0 at padded candidates, `answers` long [B]. All N candidates are pooled into
    blocks of equal share, the isotonic least-squares fit; between the blocks' mean probabilities the map is linear.
    Shares are kept 1 / (N + 2) away from 0 and 1, since a finite sample cannot prove certainty. The result is mixed
    with the identity, whose weight for n questions and m = `prior_questions` is m^2 / (n^2 + m^2). It falls faster than
    the m / (n + m) of the other calibrations, because the mixed map keeps that share of the model's miscalibration.
    Raises ValueError on an answer that is not a candidate.
    Source: Zadrozny and Elkan 2002; Ayer et al. 1955 (pool adjacent violators).
    """
    check_answers(answers, questions=probabilities.shape[0], candidates=probabilities.shape[1])
    right = torch.nn.functional.one_hot(answers, probabilities.shape[1])
    real = probabilities > 0
    inputs, order = probabilities[real].double().sort()
    blocks = pool_adjacent_violators(inputs.tolist(), right[real].double()[order].tolist())
    edge = 1 / (len(inputs) + 2)
    inner = [(knot, min(max(value, edge), 1 - edge)) for knot, value in blocks]
    certain = [] if inner[-1][0] == 1 else [(1.0, 1 - edge)]
    weight = prior_share(len(answers) ** 2, prior_questions**2)
    points = [(knot, (1 - weight) * value + weight * knot) for knot, value in [(0.0, edge), *inner, *certain]]
    knots, values = zip(*points, strict=True)
    return Isotonic(knots, values)


def pool_adjacent_violators(inputs: list[float], targets: list[float]) -> list[tuple[float, float]]:
    """Return the blocks of the isotonic least-squares fit of `targets` over rising `inputs`: (mean input, mean target).

    Mean inputs rise strictly, however close two inputs are.
    """
    blocks: list[_Block] = []
    for x, equal in groupby(zip(inputs, targets, strict=True), key=itemgetter(0)):
        values = [y for _, y in equal]
        block = _Block(x, x, x * len(values), sum(values), len(values))
        while blocks and blocks[-1].target >= block.target:
            block = blocks.pop().joined(block)
        blocks.append(block)
    return [(block.input, block.target) for block in blocks]


class _Block(NamedTuple):
    lowest: float
    highest: float
    inputs_sum: float
    targets_sum: float
    size: int

    @property
    def input(self) -> float:
        """The mean, clamped to the block's inputs: rounding could move it past the next block's mean."""
        return min(max(self.inputs_sum / self.size, self.lowest), self.highest)

    @property
    def target(self) -> float:
        return self.targets_sum / self.size

    def joined(self, above: _Block) -> _Block:
        sums = self.inputs_sum + above.inputs_sum, self.targets_sum + above.targets_sum
        return _Block(self.lowest, above.highest, *sums, self.size + above.size)
