"""Calibration by day of the prediction, to show drift; days with few labels are pooled."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence

from pydantic import Field

from uq4ct.service.ledger.calibration import score_labelled
from uq4ct.service.ledger.queries import Scored
from uq4ct.service.schemas.calibration import Count, Floor, Range
from uq4ct.service.schemas.common import Body, Probability, show_time

LEAST_LABELS = 50  # the standard error of an accuracy is then at most 0.07


class DaysView(Body):
    """The labelled predictions of one model version on one or more UTC days."""

    first_day: datetime.date
    last_day: datetime.date = Field(
        description=f"later than first_day where days are pooled, since one has fewer than {LEAST_LABELS} labels"
    )
    model: str = Field(description="name@version")
    questions: Count
    accuracy: Probability
    mean_confidence: Probability
    signed_gap: float = Field(description="mean confidence minus accuracy: positive = overconfident")
    ece: float
    ece_noise_floor: Floor
    rms_calibration_error: float
    rms_calibration_error_interval: Range = Field(description="95 % interval")


def score_days(scored: Sequence[Scored]) -> list[DaysView]:
    """Score each model version by day, ordered by version and day.

    Days are pooled in order until they have `LEAST_LABELS` labels; what is left at the end joins the last of them.
    """
    by_version: dict[tuple[str, int], dict[datetime.date, list[Scored]]] = {}
    for row in scored:
        by_day = by_version.setdefault((row.model, row.version), {})
        by_day.setdefault(show_time(row.created_ms).date(), []).append(row)
    return [
        _score(f"{model}@{version}", days, [row for day in days for row in by_day[day]])
        for (model, version), by_day in sorted(by_version.items())
        for days in _pool(by_day)
    ]


def _pool(by_day: Mapping[datetime.date, Sequence[Scored]]) -> list[list[datetime.date]]:
    pools: list[list[datetime.date]] = [[]]
    labels = 0  # in the last pool
    for day in sorted(by_day):
        if labels >= LEAST_LABELS:
            pools.append([])
            labels = 0
        pools[-1].append(day)
        labels += len(by_day[day])
    if labels < LEAST_LABELS and len(pools) > 1:
        rest = pools.pop()
        pools[-1] += rest
    return pools


def _score(model: str, days: Sequence[datetime.date], rows: Sequence[Scored]) -> DaysView:
    scores = score_labelled(rows)
    return DaysView(
        first_day=days[0],
        last_day=days[-1],
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
