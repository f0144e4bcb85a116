"""Response bodies about calibration over time."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from pydantic import Field

from uq4ct.service.ledger.history import HistoryInterval, Version
from uq4ct.service.schemas.calibration import Range
from uq4ct.service.schemas.common import Body, Probability, show_time


class HistoryPoint(Body):
    """The predictions of one interval."""

    start: datetime.datetime
    predictions: int = Field(ge=1)
    labelled: int = Field(ge=0, description="labelled predictions among those that are scored")
    mean_confidence: Probability | None = Field(description="of the labelled predictions; null without labels")
    accuracy: Probability | None
    accuracy_interval: Range | None = Field(description="95 % Wilson score interval")

    @classmethod
    def from_interval(cls, interval: HistoryInterval) -> HistoryPoint:
        """Convert an interval."""
        scores = interval.scores
        return cls(
            start=show_time(interval.start_ms),
            predictions=interval.predictions,
            labelled=0 if scores is None else scores.labelled,
            mean_confidence=None if scores is None else min(scores.mean_confidence, 1.0),
            accuracy=None if scores is None else scores.accuracy,
            accuracy_interval=None if scores is None else Range.from_interval(scores.accuracy_interval),
        )


class VersionHistory(Body):
    """One model version over time."""

    model: str = Field(description="name@version")
    points: list[HistoryPoint] = Field(description="the intervals with predictions, oldest first")


class CalibrationHistory(Body):
    """Confidence and accuracy of each model version in equal intervals of a window."""

    since: datetime.datetime
    until: datetime.datetime
    interval_seconds: float = Field(gt=0)
    models: list[VersionHistory]

    @classmethod
    def from_history(
        cls, since_ms: int, until_ms: int, width_ms: int, history: Mapping[Version, Sequence[HistoryInterval]]
    ) -> CalibrationHistory:
        """Convert a history; times are Unix milliseconds."""
        return cls(
            since=show_time(since_ms),
            until=show_time(until_ms),
            interval_seconds=width_ms / 1000,
            models=[
                VersionHistory(model=f"{name}@{version}", points=[HistoryPoint.from_interval(one) for one in intervals])
                for (name, version), intervals in history.items()
            ],
        )
