"""Confidence and accuracy of model versions over time, in equal intervals of a window."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from uq4ct.model_store.uncertainty.intervals import Interval, wilson_interval
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.queries import Scored, Window, count_intervals, scored_predictions

Version = tuple[str, int]


@dataclass(frozen=True, slots=True)
class IntervalScores:
    """The labelled predictions of one interval."""

    labelled: int
    mean_confidence: float
    accuracy: float
    accuracy_interval: Interval


@dataclass(frozen=True, slots=True)
class HistoryInterval:
    """One interval with predictions, which starts at `start_ms` (Unix milliseconds); no scores without labels."""

    start_ms: int
    predictions: int
    scores: IntervalScores | None


def read_history(
    database: Database, window: Window, points: int, versions: int | None = None
) -> dict[Version, list[HistoryInterval]]:
    """Return the intervals with predictions of each version, oldest first; raises LedgerUnavailableError.

    With `versions`, only that many versions are returned, those with the most predictions.
    """
    width = interval_ms(window, points)
    counts: dict[Version, dict[int, int]] = {}
    for model, version, interval, count in count_intervals(database, window, width):
        counts.setdefault((model, version), {})[interval] = count
    scored = _by_interval(scored_predictions(database, window), window, width)
    most = Counter({version: sum(found.values()) for version, found in counts.items()}).most_common(versions)
    return {
        version: [
            HistoryInterval(window.since_ms + interval * width, count, _score(scored.get((version, interval), [])))
            for interval, count in sorted(counts[version].items())
        ]
        for version, _ in sorted(most)
    }


def interval_ms(window: Window, points: int) -> int:
    """Return the milliseconds of each of `points` intervals that cover a window."""
    return -((window.since_ms - window.until_ms) // points) or 1


def _by_interval(scored: list[Scored], window: Window, width: int) -> dict[tuple[Version, int], list[Scored]]:
    found: dict[tuple[Version, int], list[Scored]] = {}
    for one in scored:
        interval = (one.created_ms - window.since_ms) // width
        found.setdefault(((one.model, one.version), interval), []).append(one)
    return found


def _score(scored: list[Scored]) -> IntervalScores | None:
    if not scored:
        return None
    right = sum(one.correct for one in scored)
    confidence = sum(one.confidence for one in scored) / len(scored)
    return IntervalScores(len(scored), confidence, right / len(scored), wilson_interval(right, len(scored)))
