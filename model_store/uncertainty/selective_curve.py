"""The effect of abstention at every threshold, kept as counts so that parts can be added."""

from __future__ import annotations

from dataclasses import dataclass

import torch
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
    thresholds = torch.tensor(THRESHOLDS, dtype=torch.float64)
    answered = confidence.detach().to("cpu", torch.float64)[:, None] >= thresholds  # [B, 101]
    wrong = answered & ~correct.cpu()[:, None]
    return SelectiveCurve(tuple(answered.sum(dim=0).tolist()), tuple(wrong.sum(dim=0).tolist()))
