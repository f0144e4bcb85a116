"""Queries of the ledger: a prediction, an idempotency key, the cohorts of a window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Executable, Integer, RowMapping, Select, and_, case, cast, func, select, tuple_

from uq4ct.model_store.uncertainty.bins import BINS
from uq4ct.service.ids import LONGEST_LEAD_MS, first_id, last_id
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import labels, predictions
from uq4ct.service.records import Label, PredictionRecord, StoredPrediction

COUNTED = 200_000  # a window counts its newest predictions, at most this many
SCORED = 20_000  # the calibration uses the newest labelled predictions, at most this many

LABEL_COLUMNS = (
    labels.c.answer.label("label_answer"),
    labels.c.correct.label("label_correct"),
    labels.c.source.label("label_source"),
    labels.c.labelled_ms.label("label_labelled_ms"),
)
WITH_LABEL = select(predictions, *LABEL_COLUMNS).select_from(predictions.outerjoin(labels))


@dataclass(frozen=True, slots=True)
class Window:
    """The predictions to read: from a time to a later one, of one tenant (None: of all), of one model (None: of all).

    The end leaves out predictions made while a clock ran ahead: their times would be within every window for long.
    """

    since_ms: int
    until_ms: int
    tenant: str | None
    model: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class CohortCount:
    """Counts of the predictions of one model version; `by_confidence` and `by_feu` are over equal bins of [0, 1].

    `by_feu` is None if no prediction has FEU.
    """

    model: str
    version: int
    predictions: int
    answered: int
    labelled: int
    confidence_sum: float
    by_confidence: tuple[int, ...]
    by_feu: tuple[int, ...] | None


class IntervalCount(NamedTuple):
    """The predictions of one model version in one interval; `interval` is its number since the window's begin."""

    model: str
    version: int
    interval: int
    predictions: int


class Scored(NamedTuple):
    """One labelled prediction; the two times are Unix milliseconds."""

    model: str
    version: int
    created_ms: int
    labelled_ms: int
    confidence: float
    abstain: bool
    correct: bool


def stored_prediction(row: RowMapping) -> StoredPrediction:
    """Return the prediction and the label of a row with `LABEL_COLUMNS`."""
    label = None
    if row["label_answer"] is not None:
        label = Label(row["label_answer"], row["label_correct"], row["label_source"], row["label_labelled_ms"])
    return StoredPrediction(PredictionRecord.from_row(row), label)


def find_prediction(database: Database, prediction_id: str, tenant: str | None) -> StoredPrediction | None:
    """Return the prediction of a tenant (None: of any) with this id; raises LedgerUnavailableError.

    For the database and its answer, a prediction of another tenant is the same as none.
    """
    condition = predictions.c.prediction_id == prediction_id
    return _first(database, condition if tenant is None else and_(condition, predictions.c.tenant == tenant))


def find_by_idempotency_key(database: Database, tenant: str, key: str) -> StoredPrediction | None:
    """Return a tenant's prediction with this idempotency key; raises LedgerUnavailableError."""
    return _first(database, and_(predictions.c.tenant == tenant, predictions.c.idempotency_key == key))


def insert_once(database: Database, record: PredictionRecord) -> StoredPrediction:
    """Store a prediction with an idempotency key, or return the stored prediction with this key.

    Raises:
        LedgerUnavailableError: the database failed; the prediction is probably not stored.
    """
    with database.transaction() as connection:
        insert = database.insert_new(predictions).returning(predictions.c.prediction_id)
        stored = connection.execute(insert, record.to_row()).first() is not None
    if stored or record.idempotency_key is None:
        return StoredPrediction(record, None)
    first = find_by_idempotency_key(database, record.tenant, record.idempotency_key)
    return first if first is not None else insert_once(database, record)  # retention has just freed the key


def count_cohorts(database: Database, window: Window) -> list[CohortCount]:
    """Count the predictions and labels of each model version in a window; raises LedgerUnavailableError."""
    with database.snapshot() as connection:
        cells = connection.execute(_count_cells(window)).mappings().all()
        limited = sum(row["predictions"] for row in cells) == COUNTED
        oldest = connection.scalar(_oldest_counted(window)) if limited else None
        labelled = connection.execute(_count_labels(window, oldest)).mappings().all()
    labelled_of = {(row["model"], row["version"]): row["labelled"] for row in labelled}
    cohorts = groupby(cells, key=lambda row: (row["model"], row["version"]))
    return [_add_up(version, list(rows), labelled_of.get(version, 0)) for version, rows in cohorts]


def count_intervals(database: Database, window: Window, milliseconds: int) -> list[IntervalCount]:
    """Count the newest predictions of a window by model, version and interval of so many milliseconds.

    Raises LedgerUnavailableError.
    """
    names = ("model", "version", "created_ms")
    newest = newest_first(select(*(predictions.c[name] for name in names)), window).limit(COUNTED).subquery()
    interval = ((newest.c.created_ms - window.since_ms) // milliseconds).label("interval")
    cell = (newest.c.model, newest.c.version, interval)
    query = select(*cell, func.count()).group_by(*cell).order_by(*cell)
    with database.snapshot() as connection:
        return [IntervalCount._make(row) for row in connection.execute(query).all()]


def scored_predictions(database: Database, window: Window) -> list[Scored]:
    """Return the newest labelled predictions of a window, newest first; raises LedgerUnavailableError."""
    newest = newest_first(select(*(labels.c[name] for name in Scored._fields)), window).limit(SCORED)
    with database.snapshot() as connection:
        return [Scored._make(row) for row in connection.execute(newest).all()]  # row by row takes twice as long


def _first(database: Database, condition: ColumnElement[bool]) -> StoredPrediction | None:
    query: Select[Any] = WITH_LABEL.where(condition)
    with database.transaction() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else stored_prediction(row)


def _count_cells(window: Window) -> Executable:
    """Count the newest predictions of a window by model version, bin of the confidence and bin of FEU."""
    names = ("model", "version", "abstain", "confidence", "bin")
    scores = select(*(predictions.c[name] for name in names), _feu_bin(predictions.c.feu).label("feu_bin"))
    newest = newest_first(scores, window).limit(COUNTED).subquery()
    cell = [newest.c[name] for name in ("model", "version", "bin", "feu_bin")]
    counts = (
        func.count().label("predictions"),
        func.count().filter(newest.c.abstain.is_(False)).label("answered"),
        func.sum(newest.c.confidence).label("confidence_sum"),
    )
    return select(*cell, *counts).group_by(*cell).order_by(newest.c.model, newest.c.version)


def _oldest_counted(window: Window) -> Select[Any]:
    return newest_first(select(predictions.c.prediction_id), window).offset(COUNTED - 1).limit(1)


def _count_labels(window: Window, oldest: str | None) -> Executable:
    """Count the labels of each model version in a window, without predictions older than `oldest`."""
    names = ("model", "version")
    newest = newest_first(select(*(labels.c[name] for name in names)), window, oldest).limit(COUNTED).subquery()
    version = [newest.c[name] for name in names]
    return select(*version, func.count().label("labelled")).group_by(*version)


def newest_first(
    columns: Select[Any], window: Window, oldest: str | None = None, before: str | None = None
) -> Select[Any]:
    """Restrict a select from predictions or labels to a window, newest first.

    If set, `oldest` is the smallest id, and ids are smaller than `before`.

    It compares and orders by all columns of the restriction's index, so no other index has this order. With equalities
    instead, the order is that of the primary key, too, which a planner prefers for a version that it believes common.
    """
    (table,) = columns.get_final_froms()
    wanted = {"tenant": window.tenant, "model": window.model, "version": window.version}
    of = {name: value for name, value in wanted.items() if value is not None}
    key = [*(table.c[name] for name in of), table.c.prediction_id]
    first = (*of.values(), oldest or first_id(window.since_ms))
    last = (*of.values(), before or last_id(window.until_ms + LONGEST_LEAD_MS))
    until = tuple_(*key) < last if before else tuple_(*key) <= last
    return columns.where(tuple_(*key) >= first, until).order_by(*(column.desc() for column in key))


def _feu_bin(feu: ColumnElement[float]) -> ColumnElement[int]:
    """Return the bin of FEU like `bin_of`: a cast to an integer rounds in PostgreSQL and truncates in SQLite."""
    scaled = feu * BINS
    whole = cast(scaled, Integer)
    floor = whole - case((whole > scaled, 1), else_=0)
    return case((floor >= BINS, BINS - 1), else_=floor)


def _add_up(version: tuple[str, int], cells: Sequence[RowMapping], labelled: int) -> CohortCount:
    def by(column: str) -> tuple[int, ...]:
        counts = [0] * BINS
        for cell in cells:
            if cell[column] is not None:
                counts[cell[column]] += cell["predictions"]
        return tuple(counts)

    by_feu = by("feu_bin")
    return CohortCount(
        model=version[0],
        version=version[1],
        predictions=sum(cell["predictions"] for cell in cells),
        answered=sum(cell["answered"] for cell in cells),
        labelled=labelled,
        confidence_sum=math.fsum(cell["confidence_sum"] for cell in cells),
        by_confidence=by("bin"),
        by_feu=by_feu if any(by_feu) else None,
    )
