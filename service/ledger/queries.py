"""What the ledger is asked: one prediction, one idempotency key, and the cohorts of a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, Subquery, and_, func, select

from service.ledger.database import Database
from service.ledger.ids import first_id
from service.ledger.records import Label, PredictionRecord, StoredPrediction
from service.ledger.tables import labels, predictions

COUNTED = 200_000  # predictions of a window that are counted, the newest first
SCORED = 20_000  # labelled ones that the calibration is computed from, the newest first

LABEL_COLUMNS = (
    labels.c.answer.label("label_answer"),
    labels.c.correct.label("label_correct"),
    labels.c.source.label("label_source"),
    labels.c.labelled_ms.label("label_labelled_ms"),
)
WITH_LABEL = select(predictions, *LABEL_COLUMNS).select_from(predictions.outerjoin(labels))


@dataclass(frozen=True, slots=True)
class Window:
    """The predictions that are looked at: from a time on, of one tenant (None: of all), of one model (None: of all)."""

    since_ms: int
    tenant: str | None
    model: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class CohortCount:
    """The predictions of one model version."""

    model: str
    version: int
    predictions: int
    answered: int
    labelled: int
    confidence_sum: float


@dataclass(frozen=True, slots=True)
class Scored:
    """One labelled prediction."""

    model: str
    version: int
    confidence: float
    abstain: bool
    correct: bool


def stored_prediction(row: RowMapping) -> StoredPrediction:
    """The prediction and the label of a row of `WITH_LABEL`."""
    label = None
    if row["label_answer"] is not None:
        label = Label(row["label_answer"], row["label_correct"], row["label_source"], row["label_labelled_ms"])
    return StoredPrediction(PredictionRecord.from_row(row), label)


def find_prediction(database: Database, prediction_id: str) -> StoredPrediction | None:
    """The prediction of this id; raises LedgerUnavailableError."""
    return _first(database, predictions.c.prediction_id == prediction_id)


def find_by_idempotency_key(database: Database, tenant: str, key: str) -> StoredPrediction | None:
    """The prediction that a tenant made with this key; raises LedgerUnavailableError."""
    return _first(database, and_(predictions.c.tenant == tenant, predictions.c.idempotency_key == key))


def insert_once(database: Database, record: PredictionRecord) -> StoredPrediction:
    """Store a prediction with an idempotency key, or give back the one that holds the key already.

    Raises:
        LedgerUnavailableError: nothing is stored, as far as is known.
    """
    with database.transaction() as connection:
        insert = database.insert_new(predictions).returning(predictions.c.prediction_id)
        stored = connection.execute(insert, record.to_row()).first() is not None
    if stored or record.idempotency_key is None:
        return StoredPrediction(record, None)
    first = find_by_idempotency_key(database, record.tenant, record.idempotency_key)
    return first if first is not None else insert_once(database, record)  # retention has just freed the key


def count_cohorts(database: Database, window: Window) -> list[CohortCount]:
    """How many predictions each model version made and how many have labels; raises LedgerUnavailableError."""
    newest = _newest_predictions(window)
    rows = (
        select(
            newest.c.model,
            newest.c.version,
            func.count().label("predictions"),
            func.count().filter(newest.c.abstain.is_(False)).label("answered"),
            func.count(labels.c.prediction_id).label("labelled"),
            func.sum(newest.c.confidence).label("confidence_sum"),
        )
        .select_from(newest.outerjoin(labels, labels.c.prediction_id == newest.c.prediction_id))
        .group_by(newest.c.model, newest.c.version)
        .order_by(newest.c.model, newest.c.version)
    )
    with database.transaction() as connection:
        return [CohortCount(**row) for row in connection.execute(rows).mappings()]


def scored_predictions(database: Database, window: Window) -> list[Scored]:
    """The newest labelled predictions of a window, newest first; raises LedgerUnavailableError."""
    newest = (
        select(
            predictions.c.model,
            predictions.c.version,
            predictions.c.confidence,
            predictions.c.abstain,
            labels.c.correct,
        )
        .select_from(labels.join(predictions))
        .where(labels.c.prediction_id >= first_id(window.since_ms), *_of(window))
        .order_by(labels.c.prediction_id.desc())
        .limit(SCORED)
    )
    with database.transaction() as connection:
        return [Scored(**row) for row in connection.execute(newest).mappings()]


def _first(database: Database, condition: ColumnElement[bool]) -> StoredPrediction | None:
    query: Select[Any] = WITH_LABEL.where(condition)
    with database.transaction() as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else stored_prediction(row)


def _newest_predictions(window: Window) -> Subquery:
    columns = (predictions.c.prediction_id, predictions.c.model, predictions.c.version, predictions.c.abstain)
    return (
        select(*columns, predictions.c.confidence)
        .where(predictions.c.prediction_id >= first_id(window.since_ms), *_of(window))
        .order_by(predictions.c.prediction_id.desc())
        .limit(COUNTED)
        .subquery()
    )


def _of(window: Window) -> list[ColumnElement[bool]]:
    wanted = {"tenant": window.tenant, "model": window.model, "version": window.version}
    return [predictions.c[column] == value for column, value in wanted.items() if value is not None]
