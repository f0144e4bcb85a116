"""Delete old predictions in small steps, so that other statements do not wait long for locks."""

from __future__ import annotations

from sqlalchemy import delete, select

from uq4ct.service.ids import first_id
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import predictions

STEP = 500  # predictions of one transaction
MILLISECONDS_A_DAY = 86_400_000


def oldest_kept_ms(now_ms: int, retention_days: int) -> int:
    """Return the Unix milliseconds before which predictions are deleted."""
    return now_ms - retention_days * MILLISECONDS_A_DAY


def delete_step(database: Database, before_ms: int, step: int = STEP) -> int:
    """Delete up to `step` of the oldest predictions made before a time, with their labels; return their number.

    Raises:
        LedgerUnavailableError: the database failed; nothing is deleted.
    """
    oldest = (
        select(predictions.c.prediction_id)
        .where(predictions.c.prediction_id < first_id(before_ms))
        .order_by(predictions.c.prediction_id)
        .limit(step)
        .with_for_update(skip_locked=True)  # replicas share the work; SQLite has one writer at a time
    )
    with database.transaction() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # waits for the other writers
        # As a subquery of the DELETE, PostgreSQL might run it per row, and lock and delete other rows each time.
        ids = connection.scalars(oldest).all()
        return connection.execute(delete(predictions).where(predictions.c.prediction_id.in_(ids))).rowcount


def delete_all(database: Database, before_ms: int) -> int:
    """Delete every prediction made before a time, in steps; return their number; raises like `delete_step`."""
    total = 0
    while deleted := delete_step(database, before_ms):
        total += deleted
    return total
