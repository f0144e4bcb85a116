"""The effect of abstention at every threshold, kept as counts so that parts can be added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from uq4ct.model_store.uncertainty.ranking import check_pairs

THRESHOLDS = tuple(step / 100 for step in range(101))


@dataclass(frozen=True, slots=True)
class SelectiveCurve:
    """For each of `THRESHOLDS`: how many questions have at least that confidence, and how many of those are wrong."""

    answered: tuple[int, ...]
    wrong: tuple[int, ...]


def selective_curve(confidence: Tensor, correct: Tensor) -> SelectiveCurve:
    """Count the answered questions and the wrong ones among them, from `confidence` [B] and `correct` bool [B].

    A question is answered if confidence >= threshold, as in the service. Raises ValueError on shapes that do not match
    and on NaN. Source: El-Yaniv and Wiener 2010 (the risk-coverage trade-off).
    """
    check_pairs(confidence, correct, ("confidence", "correct"))
    values = confidence.detach().to("cpu", torch.float64).numpy()
    reached = np.searchsorted(THRESHOLDS, values, side="right")
    return SelectiveCurve(_reaching_each(reached), _reaching_each(reached[~correct.cpu().numpy()]))


def _reaching_each(reached: NDArray[np.int64]) -> tuple[int, ...]:
    """Count the questions that reach each threshold; `reached` is the number of thresholds that each reaches."""
    exactly = np.bincount(reached, minlength=len(THRESHOLDS) + 1)
    return tuple(exactly[::-1].cumsum()[-2::-1].tolist())
