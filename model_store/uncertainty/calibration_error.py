"""Calibration error over equal-width bins of confidence, kept as sums and counts so that parts can be added.

Everything here runs on the CPU in float64, so the results do not depend on the device of the confidences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.bins import BINS, ROUNDING
from uq4ct.model_store.uncertainty.poisson_binomial import success_distributions


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityBins:
    """The data of a reliability diagram, float64 [bins] each: questions, sum of confidence, correct answers."""

    count: Tensor
    confidence_sum: Tensor
    correct_sum: Tensor

    @property
    def expected_calibration_error(self) -> float:
        """ECE as sum |correct - confidence| / questions, with no division per bin; ValueError if all bins are empty."""
        questions = self.count.sum().item()
        if questions == 0:
            raise ValueError("a calibration error needs at least 1 question, not 0")
        return (self.correct_sum - self.confidence_sum).abs().sum().item() / questions


@dataclass(frozen=True, slots=True)
class NoiseFloor:
    """ECE of a perfectly calibrated model with the same confidences: its mean and its 95th percentile."""

    mean: float
    p95: float


def confidence_bin(confidence: Tensor, bins: int = BINS) -> Tensor:
    """Return the bin min(int(p * bins), bins - 1) of each confidence p: long, on the CPU, shaped like `confidence`.

    Bins are closed on the left and p = 1 belongs to the last one. Raises ValueError on p outside [0, 1] or NaN, and
    on fewer than 1 bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    return (_checked(confidence) * bins).long().clamp(max=bins - 1)


def reliability_bins(confidence: Tensor, correct: Tensor, bins: int = BINS) -> ReliabilityBins:
    """Count and sum `confidence` [B] in [0, 1] and `correct` bool [B] per bin; ValueError if the shapes differ."""
    if confidence.ndim != 1 or correct.shape != confidence.shape or correct.dtype != torch.bool:
        raise ValueError(
            f"confidence must be [B] and correct bool [B], "
            f"not {list(confidence.shape)} and {correct.dtype} {list(correct.shape)}"
        )
    values = _checked(confidence)
    index = confidence_bin(values, bins)
    return ReliabilityBins(
        count=torch.bincount(index, minlength=bins).double(),
        confidence_sum=torch.bincount(index, weights=values, minlength=bins),
        correct_sum=torch.bincount(index, weights=correct.to("cpu", torch.float64), minlength=bins),
    )


def expected_calibration_error(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """ECE in [0, 1]: |accuracy - mean confidence| of each bin, weighted by the bin's share of questions.

    `confidence` [B], `correct` bool [B]. It is biased upwards: read it beside `noise_floor`. Raises ValueError on no
    questions, on shapes that do not match and on confidences outside [0, 1].
    Source: Naeini et al. 2015; Guo et al. 2017.
    """
    return reliability_bins(confidence, correct, bins).expected_calibration_error


def noise_floor(confidence: Tensor, bins: int = BINS, draws: int = 1000, seed: int = 0) -> NoiseFloor:
    """Return the ECE that a perfectly calibrated model with these confidences [B] shows.

    Its labels are Bernoulli(`confidence`), so the number of right answers in a bin has a known distribution. The mean
    is computed from these distributions, and the percentile from `draws` draws of the numbers. Raises ValueError on
    no questions, on confidences outside [0, 1] and on fewer than 1 draw.
    """
    if confidence.ndim != 1 or len(confidence) == 0:
        raise ValueError(f"confidence must be [B] with B >= 1, not {list(confidence.shape)}")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    values = _checked(confidence)
    index = confidence_bin(values, bins)
    # Summed as in `reliability_bins`: where all labels agree, rounding must not put the error above its floor.
    promised = torch.bincount(index, weights=values, minlength=bins).numpy()
    uniform = torch.rand(bins, draws, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    distributions = success_distributions(values.numpy(), index.numpy(), bins)
    mean, gaps = 0.0, []
    for probability, expected, quantile in zip(distributions, promised, uniform, strict=True):
        gap = np.abs(np.arange(len(probability)) - expected)
        below = probability.cumsum()
        mean += float((probability * gap).sum() / below[-1])
        right = below.searchsorted(quantile * below[-1], side="right")
        gaps.append(gap[right.clip(max=len(gap) - 1)])
    errors = torch.from_numpy(np.stack(gaps, axis=-1)).sum(dim=-1) / len(values)
    return NoiseFloor(mean=mean / len(values), p95=errors.quantile(0.95).item())


def _checked(confidence: Tensor) -> Tensor:
    """Return the confidences on the CPU in float64, within [0, 1]."""
    values = confidence.detach().to("cpu", torch.float64)
    if values.numel():
        low, high = (bound.item() for bound in values.aminmax())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):
            raise ValueError(f"confidence must lie in [0, 1], not {high if low >= -ROUNDING else low}")
    return values.clamp(0.0, 1.0)
