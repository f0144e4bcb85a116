"""Calibration statistics of model versions from labelled predictions, computed with `model_store`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.uncertainty.calibration_error import (
    NoiseFloor,
    noise_floor,
    reliability_bins,
)
from uq4ct.model_store.uncertainty.intervals import Interval
from uq4ct.model_store.uncertainty.selective_curve import SelectiveCurve, selective_curve
from uq4ct.model_store.uncertainty.squared_calibration_error import Confidences, squared_calibration_error
from uq4ct.service.ledger.queries import CohortCount, Scored
from uq4ct.service.ledger.sequential import RunningTest


@dataclass(frozen=True, slots=True)
class BinSums:
    """One bin of the reliability diagram: number of labels, sum of their confidences, number of right answers."""

    labelled: int
    confidence_sum: float
    correct: int


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """Scores of labelled predictions; `selective_risk` is the error rate of answers without abstention, if any.

    With p the confidence and y = 1 for a right answer: `top_label_brier` is the mean of (p - y)^2; `gap_z` and
    `spiegelhalter_z` are standard normal under perfect calibration, None if the confidences leave no variance.
    """

    questions: int
    bins: tuple[BinSums, ...]
    accuracy: float
    mean_confidence: float
    ece: float
    ece_noise_floor: NoiseFloor
    rms_calibration_error: float
    rms_calibration_error_interval: Interval
    selective_risk: float | None
    curve: SelectiveCurve
    top_label_brier: float
    spiegelhalter_z: float | None
    gap_z: float | None


@dataclass(frozen=True, slots=True)
class LabelDelay:
    """Time from an answer to its label, in seconds."""

    median: float
    p90: float


@dataclass(frozen=True, slots=True)
class Cohort:
    """One model version in a window of prediction time; `scores` and `delay` are None without labels.

    `tests` cover the version's whole life, with the labels of the window's tenant.
    """

    count: CohortCount
    scores: LabelledScores | None
    delay: LabelDelay | None
    tests: tuple[RunningTest, ...]


def score_cohorts(
    counts: Sequence[CohortCount], scored: Sequence[Scored], tests: Sequence[RunningTest]
) -> list[Cohort]:
    """Combine each model version with the scores of its labelled predictions and its tests."""
    rows_of: dict[tuple[str, int], list[Scored]] = {}
    for row in scored:
        rows_of.setdefault((row.model, row.version), []).append(row)
    tests_of: dict[tuple[str, int], list[RunningTest]] = {}
    for test in tests:
        tests_of.setdefault((test.model, test.version), []).append(test)
    versions = [(count.model, count.version) for count in counts]
    return [
        _cohort(count, rows_of.get(version, []), tuple(tests_of.get(version, ())))
        for count, version in zip(counts, versions, strict=True)
    ]


def score_labelled(rows: Sequence[Scored]) -> LabelledScores:
    """Compute the scores of labelled predictions; raises ValueError if there are none."""
    confidence = torch.tensor([row.confidence for row in rows], dtype=torch.float64)
    correct = torch.tensor([row.correct for row in rows])
    right_answered = [row.correct for row in rows if not row.abstain]
    table = reliability_bins(confidence, correct)
    squared = squared_calibration_error([Confidences(confidence, correct)])
    bins = zip(table.count.tolist(), table.confidence_sum.tolist(), table.correct_sum.tolist(), strict=True)
    return LabelledScores(
        questions=len(rows),
        bins=tuple(BinSums(int(count), total, int(right)) for count, total, right in bins),
        accuracy=table.correct_sum.sum().item() / len(rows),
        mean_confidence=table.confidence_sum.sum().item() / len(rows),
        ece=table.expected_calibration_error,
        ece_noise_floor=noise_floor(confidence),
        rms_calibration_error=squared.root,
        rms_calibration_error_interval=squared.root_interval,
        selective_risk=1 - sum(right_answered) / len(right_answered) if right_answered else None,
        curve=selective_curve(confidence, correct),
        top_label_brier=(confidence - correct.double()).square().mean().item(),
        spiegelhalter_z=_spiegelhalter_z(confidence, correct.double()),
        gap_z=_z(confidence - correct.double(), confidence * (1 - confidence)),
    )


def _cohort(count: CohortCount, rows: Sequence[Scored], tests: tuple[RunningTest, ...]) -> Cohort:
    if not rows:
        return Cohort(count, None, None, tests)
    # The clock of the replica that stored the label may run behind that of the one that answered.
    seconds = torch.tensor([max(row.labelled_ms - row.created_ms, 0) / 1000 for row in rows], dtype=torch.float64)
    median, p90 = seconds.quantile(torch.tensor([0.5, 0.9], dtype=torch.float64)).tolist()
    return Cohort(count, score_labelled(rows), LabelDelay(median, p90), tests)


def _spiegelhalter_z(p: Tensor, y: Tensor) -> float | None:
    """Return Spiegelhalter's Z statistic. Source: Spiegelhalter 1986."""
    variance = p * (1 - p)
    return _z((p - y).square() - variance, (1 - 2 * p).square() * variance)


def _z(deviations: Tensor, variances: Tensor) -> float | None:
    """Return the sum of independent, zero-mean deviations divided by its standard deviation."""
    variance = variances.sum().item()
    return deviations.sum().item() / math.sqrt(variance) if variance > 0 else None
