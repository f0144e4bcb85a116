"""Stored predictions page by page, newest first, through filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Select, Subquery, select

from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.queries import WITH_LABEL, Window, newest_first, stored_prediction
from uq4ct.service.ledger.tables import labels, predictions
from uq4ct.service.records import StoredPrediction

MOST_READ = 10_000  # rows that a page looks at; filters may pass few of them


@dataclass(frozen=True, slots=True)
class Filters:
    """What a listed prediction must be; None: anything. `correct` passes labelled predictions only."""

    task: str | None = None
    confidence_from: float | None = None
    confidence_to: float | None = None
    abstain: bool | None = None
    labelled: bool | None = None
    correct: bool | None = None

    @property
    def read_labels(self) -> bool:
        """Whether the labels decide."""
        return self.labelled is not None or self.correct is not None


@dataclass(frozen=True, slots=True)
class Page:
    """Some predictions; further ones come before the id `next`, if it is not None."""

    predictions: list[StoredPrediction]
    next: str | None


def list_predictions(database: Database, window: Window, filters: Filters, limit: int, before: str | None) -> Page:
    """Return at most `limit` predictions of a window that pass the filters, from before an id, if one is given.

    A page looks at the newest `MOST_READ` rows only, so it may hold fewer although there are more.

    Raises:
        LedgerUnavailableError: the database cannot be read.
    """
    with database.snapshot() as connection:
        found = _passing_ids(connection, window, filters, limit, before)
        shown = found[:limit]
        following = shown[-1] if len(found) > limit else connection.scalar(_last_read(window, before))
        return Page(_read(connection, shown), following)


def _passing_ids(
    connection: Connection, window: Window, filters: Filters, limit: int, before: str | None
) -> Sequence[str]:
    """Return the ids of a page, and of one prediction more if there is one, newest first."""
    names = ("prediction_id", "task", "confidence", "abstain")
    columns = select(*(predictions.c[name] for name in names))
    read = newest_first(columns, window, before=before).limit(MOST_READ).subquery()
    query = select(read.c.prediction_id).where(*_conditions(read, filters)).order_by(read.c.prediction_id.desc())
    if not filters.read_labels:
        return connection.scalars(query.limit(limit + 1)).all()
    ids = connection.scalars(query).all()
    if not ids:
        return []
    # Joined with the predictions, PostgreSQL may read all labels; in a range of ids they are as many as was read.
    columns = select(*(labels.c[name] for name in ("prediction_id", "correct")))
    told = connection.execute(newest_first(columns, window, ids[-1], before).limit(MOST_READ))
    correct = {label.prediction_id: label.correct for label in told}
    return [one for one in ids if _passes(filters, correct.get(one))][: limit + 1]


def _conditions(read: Subquery, filters: Filters) -> list[ColumnElement[bool]]:
    conditions = []
    if filters.task is not None:
        conditions.append(read.c.task == filters.task)
    if filters.confidence_from is not None:
        conditions.append(read.c.confidence >= filters.confidence_from)
    if filters.confidence_to is not None:
        conditions.append(read.c.confidence <= filters.confidence_to)
    if filters.abstain is not None:
        conditions.append(read.c.abstain.is_(filters.abstain))
    return conditions


def _passes(filters: Filters, correct: bool | None) -> bool:
    """Whether a label, or None without one, passes the filters."""
    if filters.labelled is not None and filters.labelled is not (correct is not None):
        return False
    return filters.correct is None or filters.correct is correct


def _last_read(window: Window, before: str | None) -> Select[str]:
    """Select the id of the last row that a page looks at, if it looks at as many as it may."""
    return newest_first(select(predictions.c.prediction_id), window, before=before).offset(MOST_READ - 1).limit(1)


def _read(connection: Connection, ids: Sequence[str]) -> list[StoredPrediction]:
    query = WITH_LABEL.where(predictions.c.prediction_id.in_(ids)).order_by(predictions.c.prediction_id.desc())
    return [stored_prediction(row) for row in connection.execute(query).mappings()]
