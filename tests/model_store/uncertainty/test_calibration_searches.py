"""The searches of Platt scaling and of a temperature by FEU against scipy's, from many starts, on small random sets."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, logsumexp
from torch import Tensor

from uq4ct.model_store.uncertainty import feu_temperature, platt
from uq4ct.model_store.uncertainty.feu_temperature import fit_feu_temperature
from uq4ct.model_store.uncertainty.platt import fit_platt
from uq4ct.model_store.uncertainty.temperature import TEMPERATURE_RANGE

Array = NDArray[np.float64]
Loss = Callable[[Array], float]
HARD = (5, 10)  # sets on which a search from one start, or from a narrower grid, ends in another minimum
SETS = [*HARD, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(30) if seed not in HARD)]
MARGIN = 1e-6


def draw_set(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits [S, n, C] of n <= 50 questions of 2 to 4 options, FEU, and answers, some of them unrelated."""
    source = np.random.default_rng(seed)
    count, samples = int(source.integers(3, 51)), int(source.choice([1, 1, 4]))
    truth = source.choice([0.5, 2.0, 6.0]) * source.standard_normal((count, 4))
    options = source.integers(2, 5, size=(count, 1)) if seed % 2 else np.full((count, 1), source.integers(2, 5))
    truth[np.arange(4) >= options] = -np.inf
    chances = np.exp(log_softmax(truth, axis=-1))
    if seed % 5 == 0:
        chances = np.where(np.isfinite(truth), 1.0, 0.0) / options  # answers that the model knows nothing about
    answers = [int(source.choice(4, p=row)) for row in chances]
    noise = 0.7 * source.standard_normal((samples, count, 4)) if samples > 1 else 0.0
    logits = source.choice([0.3, 1.0, 3.0]) * (truth[None] + noise)
    return torch.from_numpy(logits), torch.from_numpy(source.uniform(0.2, 0.9, count)), torch.tensor(answers)


def soft_targets(probabilities: Array, answers: Tensor, prior: float) -> Array:
    count, options = probabilities.shape
    return (count * np.eye(options)[answers.numpy()] + prior * probabilities) / (count + prior)


def lowest_by_scipy(loss: Loss, bounds: list[tuple[float, float]], starts: list[tuple[float, ...]]) -> float:
    tight = {"ftol": 1e-14, "gtol": 1e-10, "maxiter": 500}
    return min(minimize(loss, start, method="L-BFGS-B", bounds=bounds, options=tight).fun for start in starts)


def platt_loss(probabilities: Array, answers: Tensor) -> Loss:
    """Cross entropy + 1e-4 (log(slope)^2 + intercept^2), by log slope and intercept."""
    targets = soft_targets(probabilities, answers, platt.PRIOR_QUESTIONS)
    real = probabilities > 0
    odds = logit(np.clip(probabilities, 1e-12, 1 - 1e-12))

    def loss(theta: Array) -> float:
        mapped = np.where(real, expit(math.exp(theta[0]) * odds + theta[1]), 0)
        mapped = mapped / mapped.sum(axis=-1, keepdims=True)
        entropies = -np.where(real, targets * np.log(np.clip(mapped, 2.3e-308, None)), 0).sum(axis=-1)
        return entropies.mean() + 1e-4 * (theta[0] ** 2 + theta[1] ** 2)

    return loss


@pytest.mark.parametrize("seed", SETS)
def test_no_line_of_an_independent_search_is_better(seed: int) -> None:
    logits, _, answers = draw_set(seed)
    probabilities = logits.softmax(-1).mean(0)
    loss = platt_loss(probabilities.numpy(), answers)
    found = fit_platt(probabilities, answers)
    starts = list(product((-3.0, -1.0, 0.0, 1.0, 3.0), (-20.0, -5.0, -1.0, 0.0, 1.0, 5.0, 20.0)))
    theirs = lowest_by_scipy(loss, [(-5, 5), (-50, 50)], starts)
    assert loss(np.array([math.log(found.slope), found.intercept])) <= theirs + MARGIN


def feu_loss(logits: Array, feu: Array, answers: Tensor) -> Loss:
    """Cross entropy + 1e-4 (feu_slope^2 + options_slope^2), by level, FEU slope and options slope."""
    real = np.isfinite(logits)
    counts = real[0].sum(axis=-1)
    own = np.exp(log_softmax(logits, axis=-1)).mean(axis=0)
    targets = soft_targets(own, answers, feu_temperature.PRIOR_QUESTIONS)
    low, high = map(math.log, TEMPERATURE_RANGE)

    def loss(theta: Array) -> float:
        logs = theta[0] - theta[1] * (feu - feu.mean()) + theta[2] * np.log(counts / 4)
        divided = np.where(real, logits, -np.inf) / np.exp(np.clip(logs, low, high))[:, None]
        mean = np.asarray(logsumexp(log_softmax(divided, axis=-1), axis=0)) - math.log(len(logits))
        penalty = 1e-4 * (theta[1] ** 2 + theta[2] ** 2)
        return -np.where(real[0], targets * np.maximum(mean, -708), 0).sum(axis=-1).mean() + penalty

    return loss


@pytest.mark.parametrize("seed", SETS)
def test_no_temperature_by_feu_of_an_independent_search_is_better(seed: int) -> None:
    logits, feu, answers = draw_set(seed)
    found = fit_feu_temperature(logits, feu, answers)
    counts = logits[0].isfinite().sum(-1)
    varied = bool((counts != counts[0]).any())
    loss = feu_loss(logits.numpy(), feu.numpy(), answers)
    starts = list(product((-1.5, 0.0, 1.5), (0.0, 1.0, 4.0, 10.0), (-1.0, 0.0, 1.0) if varied else (0.0,)))
    theirs = lowest_by_scipy(loss, [(-4, 4), (0, 60), (-20, 20) if varied else (0, 0)], starts)
    assert loss(np.array([found.level, found.feu_slope, found.options_slope])) <= theirs + MARGIN
