"""Open a ledger: migrate it to the schema of this code, and check that it can be written.

Migrations run under a lock, so that replicas that start together take turns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerError, LedgerUnavailableError
from uq4ct.service.ledger.probing import probe_write

_PATIENCE = 120  # seconds to wait for another replica's migration or for a lock
_POSTGRES_LOCK = 0x75713463740001  # id of the advisory lock; an arbitrary number
_PAUSE = 0.05
_alembic_lock = threading.Lock()  # alembic keeps the running migration in module-level proxies


def migrate(url: str) -> str:
    """Migrate the database to the latest revision of this code, and return the revision.

    Raises:
        LedgerError: the database cannot be reached or written, its schema is newer than this code, or an SQLite file
            does not support a write-ahead log.
    """
    with _database(url, "opened") as database:
        database.create_file()
        scripts = ScriptDirectory(str(Path(__file__).parent / "migrations"))
        head = scripts.get_current_head()
        if head is None:
            raise LedgerError("this installation has no migrations")
        if _present_revision(database) != head:
            if database.is_sqlite:
                _use_write_ahead_log(database)
            _upgrade(database, head)
        return head


def check_writable(url: str) -> None:
    """Check that predictions and labels can be written; raises LedgerError with the database's reason."""
    with _database(url, "written") as database:
        probe_write(database)


@contextmanager
def _database(url: str, purpose: str) -> Iterator[Database]:
    """Yield a patient connection to the database; an error says that the ledger cannot be `purpose`."""
    database = Database(url, patience=_PATIENCE)
    try:
        yield database
    except LedgerUnavailableError as error:
        raise LedgerError(f"UQ4CT_DATABASE_URL: the ledger cannot be {purpose}: {error}") from error
    except OSError as error:
        raise LedgerError(f"UQ4CT_DATABASE_URL: {error.strerror}: {error.filename}") from error
    finally:
        database.close()


def _present_revision(database: Database) -> str | None:
    with database.transaction() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def _upgrade(database: Database, head: str) -> None:
    config = Config(attributes={"connection": None})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with _alembic_lock, database.transaction() as connection:
        _lock(connection, database)
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, head)
        except CommandError as error:
            raise LedgerError(f"this version of the service does not know the ledger's schema: {error}") from error


def _lock(connection: Connection, database: Database) -> None:
    """Block other migrations until the transaction ends."""
    if database.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.execute(text("SELECT set_config('statement_timeout', '0', true)"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})


def _use_write_ahead_log(database: Database) -> None:
    """Enable WAL mode: readers and the writer do not block each other, and a killed process leaves nothing to repair.

    Unlike other statements, changing the mode does not wait for locks, so it is retried.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        with database.transaction() as connection:
            try:
                mode = connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()
            except OperationalError as error:
                if "locked" not in str(error.orig) or time.monotonic() > give_up:
                    raise
            else:
                break
        time.sleep(_PAUSE)
    if mode != "wal":
        raise LedgerError(f"UQ4CT_DATABASE_URL: the file system must support journal mode wal (got {mode})")
