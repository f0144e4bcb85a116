"""Store the label of a prediction, once, however often it is sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from uq4ct.model_store.questions import LABELS
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import AnswerOutsideError, LabelConflictError, PastRetentionError
from uq4ct.service.ledger.tables import REPEATED, labels
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.metrics import Metrics


class Taken(enum.StrEnum):
    """Whether a label is new in the ledger or was already there."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Feedback:
    """The true option of a prediction, by index or letter; `source` says where the label comes from."""

    prediction_id: str
    answer: int | str
    source: str | None


def option_index(answer: int | str, options: int) -> int:
    """Return the index of an answer given as index or letter.

    Raises:
        AnswerOutsideError: it is not one of `options` options.
    """
    index = answer if isinstance(answer, int) else LABELS.find(answer) if len(answer) == 1 else -1
    if not 0 <= index < options:
        raise AnswerOutsideError(f"must be an option from 0 to {options - 1}, or from A to {LABELS[options - 1]}")
    return index


def store_label(
    database: Database, metrics: Metrics, record: PredictionRecord, feedback: Feedback, now_ms: int
) -> Taken:
    """Commit a label, then count it.

    If several labels race, the database accepts one: its key is the id of the prediction.

    Raises:
        AnswerOutsideError: the answer is not one of the options.
        LabelConflictError: the prediction already has a different label.
        PastRetentionError: the prediction has just been deleted.
        LedgerUnavailableError: the database failed; the label is probably not stored.
    """
    answer = option_index(feedback.answer, record.options)
    correct = answer == record.option
    row = {name: getattr(record, name) for name in REPEATED} | {
        "prediction_id": record.prediction_id,
        "answer": answer,
        "correct": correct,
        "source": feedback.source,
        "labelled_ms": now_ms,
    }
    try:
        present = _insert_or_read(database, row)
    except IntegrityError as error:
        raise PastRetentionError(f"{record.prediction_id} has just been deleted") from error
    if present is None:
        metrics.feedback.labels(Taken.ACCEPTED).inc()
        metrics.count_label(record, correct=correct, labelled_ms=now_ms)
        return Taken.ACCEPTED
    if present != answer:
        metrics.feedback.labels("conflict").inc()
        raise LabelConflictError(f"{record.prediction_id} already has the label {LABELS[present]}")
    metrics.feedback.labels(Taken.DUPLICATE).inc()
    return Taken.DUPLICATE


def _insert_or_read(database: Database, row: dict[str, object]) -> int | None:
    """Insert a label and return None, or return the answer that is already stored."""
    with database.transaction() as connection:
        insert = database.insert_new(labels).returning(labels.c.prediction_id)
        if connection.execute(insert, row).first() is not None:
            return None
        known = select(labels.c.answer).where(labels.c.prediction_id == row["prediction_id"])
        return connection.execute(known).scalar_one()
