"""Delete old predictions in small steps, so that other statements do not wait long for locks."""

from __future__ import annotations

import datetime

from sqlalchemy import delete, insert, select, update

from uq4ct.service.ids import first_id
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LONGEST_PAUSE_DAYS, ClockJumpedError
from uq4ct.service.ledger.tables import predictions, retention

STEP = 500  # predictions of one transaction
MILLISECONDS_A_DAY = 86_400_000


def oldest_kept_ms(now_ms: int, retention_days: int) -> int:
    """Return the Unix milliseconds before which predictions are deleted."""
    return now_ms - retention_days * MILLISECONDS_A_DAY


def accept_clock(database: Database, now_ms: int, *, insist: bool = False) -> None:
    """Note in the ledger that a round of retention starts now; a round must not start without.

    With a clock that is a year ahead, retention would delete everything. The ledger's own note tells such a clock also
    after a restart, and however many predictions were stored by it since. It is never set back by a clock.

    Args:
        insist: a person has checked the clock.

    Raises:
        ClockJumpedError: the clock is more than LONGEST_PAUSE_DAYS ahead of the last note.
        LedgerUnavailableError: the database failed.
    """
    with database.transaction() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        last_ms = connection.scalar(select(retention.c.started_ms).with_for_update())
        if last_ms is None:
            connection.execute(insert(retention).values(started_ms=now_ms))
        elif insist or 0 <= now_ms - last_ms <= LONGEST_PAUSE_DAYS * MILLISECONDS_A_DAY:
            connection.execute(update(retention).values(started_ms=now_ms))
        elif now_ms > last_ms:
            raise ClockJumpedError(
                f"nothing is deleted: the clock shows {_shown(now_ms)}, but retention last ran at {_shown(last_ms)}, "
                f"more than {LONGEST_PAUSE_DAYS} days earlier; if the clock is right, run "
                "`uq4ct ledger prune --clock-is-right`"
            )


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
        database.use_indexes(connection)
        # As a subquery of the DELETE, PostgreSQL might run it per row, and lock and delete other rows each time.
        ids = connection.scalars(oldest).all()
        return connection.execute(delete(predictions).where(predictions.c.prediction_id.in_(ids))).rowcount


def delete_all(database: Database, before_ms: int) -> int:
    """Delete every prediction made before a time, in steps; return their number; raises like `delete_step`."""
    total = 0
    while deleted := delete_step(database, before_ms):
        total += deleted
    return total


def _shown(milliseconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC):%Y-%m-%d %H:%M} UTC"
