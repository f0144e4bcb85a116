"""From labelled predictions to what is said of a model version's calibration; every number is of `model_store`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model_store.uncertainty.calibration_error import (
    NoiseFloor,
    expected_calibration_error,
    noise_floor,
    reliability_bins,
)
from model_store.uncertainty.resampling import Interval, bootstrap_interval
from service.ledger.queries import CohortCount, Scored


@dataclass(frozen=True, slots=True)
class BinSums:
    """One bin of the reliability diagram: how many labels, the sum of their confidence, how many were right."""

    labelled: int
    confidence_sum: float
    correct: int


@dataclass(frozen=True, slots=True)
class LabelledScores:
    """What the labels say; `selective_risk` is the share of errors among answers without abstention, if any."""

    questions: int
    bins: tuple[BinSums, ...]
    accuracy: float
    mean_confidence: float
    ece: float
    ece_interval: Interval
    ece_noise_floor: NoiseFloor
    selective_risk: float | None


@dataclass(frozen=True, slots=True)
class Cohort:
    """One model version in a window of prediction time; without labels there are no scores."""

    count: CohortCount
    scores: LabelledScores | None


def score_cohorts(counts: Sequence[CohortCount], scored: Sequence[Scored]) -> list[Cohort]:
    """Each model version with the scores of its labelled predictions."""
    return [
        Cohort(count, _score([row for row in scored if (row.model, row.version) == (count.model, count.version)]))
        for count in counts
    ]


def _score(rows: Sequence[Scored]) -> LabelledScores | None:
    if not rows:
        return None
    confidence = torch.tensor([row.confidence for row in rows], dtype=torch.float64)
    correct = torch.tensor([row.correct for row in rows])
    answered = torch.tensor([not row.abstain for row in rows])
    table = reliability_bins(confidence, correct)
    bins = zip(table.count.tolist(), table.confidence_sum.tolist(), table.correct_sum.tolist(), strict=True)
    return LabelledScores(
        questions=len(rows),
        bins=tuple(BinSums(int(count), total, int(right)) for count, total, right in bins),
        accuracy=table.correct_sum.sum().item() / len(rows),
        mean_confidence=table.confidence_sum.sum().item() / len(rows),
        ece=table.expected_calibration_error,
        ece_interval=bootstrap_interval(
            lambda index: expected_calibration_error(confidence[index], correct[index]), len(rows)
        ),
        ece_noise_floor=noise_floor(confidence),
        selective_risk=1 - correct[answered].double().mean().item() if answered.any() else None,
    )
