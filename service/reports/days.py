"""Calibration by day of the prediction, to show drift."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from pydantic import Field

from uq4ct.service.ledger.calibration import score_labelled
from uq4ct.service.ledger.queries import Scored
from uq4ct.service.schemas.calibration import Count, Floor, Range
from uq4ct.service.schemas.common import Body, Probability, show_time


class DayView(Body):
    """The labelled predictions of one model version on one UTC day."""

    day: datetime.date
    model: str = Field(description="name@version")
    questions: Count
    accuracy: Probability
    mean_confidence: Probability
    signed_gap: float = Field(description="mean confidence minus accuracy: positive = overconfident")
    ece: float
    ece_noise_floor: Floor
    rms_calibration_error: float
    rms_calibration_error_interval: Range = Field(description="95 % interval")


def score_days(scored: Sequence[Scored]) -> list[DayView]:
    """Score each day with labels per model version, ordered by version and day."""
    rows_of: dict[tuple[str, int, datetime.date], list[Scored]] = {}
    for row in scored:
        rows_of.setdefault((row.model, row.version, show_time(row.created_ms).date()), []).append(row)
    return [
        _score_day(f"{model}@{version}", day, rows_of[model, version, day]) for model, version, day in sorted(rows_of)
    ]


def _score_day(model: str, day: datetime.date, rows: Sequence[Scored]) -> DayView:
    scores = score_labelled(rows)
    return DayView(
        day=day,
        model=model,
        questions=scores.questions,
        accuracy=scores.accuracy,
        mean_confidence=min(scores.mean_confidence, 1.0),
        signed_gap=scores.mean_confidence - scores.accuracy,
        ece=scores.ece,
        ece_noise_floor=Floor.from_floor(scores.ece_noise_floor),
        rms_calibration_error=scores.rms_calibration_error,
        rms_calibration_error_interval=Range.from_interval(scores.rms_calibration_error_interval),
    )
