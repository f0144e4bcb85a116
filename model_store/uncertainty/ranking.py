"""How well a score separates right answers from wrong ones, independent of its scale."""

from __future__ import annotations

import torch
from torch import Tensor


def auroc(score: Tensor, positive: Tensor) -> float | None:
    """Return the probability that a positive scores above a negative, ties counting half; None if a class is absent.

    `score` [B], `positive` bool [B]. Raises ValueError on shapes that do not match and on NaN.
    Source: Hanley and McNeil 1982 (the Wilcoxon-Mann-Whitney statistic).
    """
    positives, count = _count_by_value(score, positive)
    negatives = count - positives
    pairs = (positives.sum() * negatives.sum()).item()
    if pairs == 0:
        return None
    negatives_below = negatives.cumsum(dim=0) - negatives
    return (positives * (negatives_below + negatives / 2)).sum().item() / pairs


def risk_coverage(confidence: Tensor, correct: Tensor) -> tuple[Tensor, Tensor]:
    """Return coverage k / B and the error rate of the k most confident questions, for k = 1..B: float64 [B] each.

    `confidence` [B], `correct` bool [B]. For questions of equal confidence the expectation over a random order is
    taken, so that the order of the rows does not matter. Raises ValueError on no questions, on shapes that do not match
    and on NaN. Source: El-Yaniv and Wiener 2010.
    """
    if len(confidence) == 0:
        raise ValueError("a risk-coverage curve needs at least 1 question, not 0")
    right, count = (column.flip(0) for column in _count_by_value(confidence, correct))
    expected_wrong = ((count - right) / count).repeat_interleave(count.long()).cumsum(dim=0)
    accepted = torch.arange(1, len(confidence) + 1, dtype=torch.float64)
    return accepted / len(confidence), expected_wrong / accepted


def area_under_risk_coverage(confidence: Tensor, correct: Tensor) -> float:
    """Return AURC: the mean of the selective risk over the coverages 1/B..1, low = errors come last.

    `confidence` [B], `correct` bool [B]; raises as `risk_coverage` does. Source: Geifman, Uziel, El-Yaniv 2019.
    """
    _, selective_risk = risk_coverage(confidence, correct)
    return selective_risk.mean().item()


def check_pairs(score: Tensor, positive: Tensor, names: tuple[str, str] = ("score", "labels")) -> None:
    """Raise ValueError, with these names, unless `score` is [B] without NaN and `positive` bool [B]."""
    if score.ndim != 1 or positive.shape != score.shape or positive.dtype != torch.bool:
        raise ValueError(
            f"{names[0]} must be [B] and {names[1]} bool [B], "
            f"not {list(score.shape)} and {positive.dtype} {list(positive.shape)}"
        )
    if score.isnan().any():
        raise ValueError(f"{names[0]} is NaN in the rows {score.isnan().nonzero().flatten().tolist()}")


def _count_by_value(score: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Count the positives and the rows of each distinct score, by rising score: float64, on the CPU."""
    check_pairs(score, positive)
    _, group, count = score.detach().cpu().unique(return_inverse=True, return_counts=True)
    positives = torch.bincount(group, weights=positive.to("cpu", torch.float64), minlength=len(count))
    return positives, count.double()
