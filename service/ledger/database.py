"""The database of the ledger: SQLite or PostgreSQL, used from threads, never from the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from uq4ct.service.ledger.connections import drop_after_server_errors
from uq4ct.service.ledger.failures import LedgerError, LedgerUnavailableError
from uq4ct.service.ledger.reasons import reason_of
from uq4ct.service.settings import parse_database_url

PATIENCE = 2  # seconds that a statement waits for a lock
_POOL = 8
_STATEMENT_PATIENCES = 5  # statement timeout as a multiple of the lock timeout
_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON")  # FULL: a commit in WAL mode survives a power cut


class Database:
    """A connection pool that raises its failures as `LedgerUnavailableError`."""

    def __init__(self, url: str, patience: int = PATIENCE) -> None:
        """Prepare the pool without connecting.

        Raises:
            LedgerError: the driver is not installed.
        """
        parsed = parse_database_url(url)
        self.is_sqlite = parsed.drivername == "sqlite"
        self._file = parsed.database if self.is_sqlite and parsed.query.get("uri") != "true" else None
        try:
            self.engine = create_engine(
                parsed,
                connect_args=_connect_arguments(parsed, patience),
                pool_pre_ping=True,
                pool_size=_POOL,
                pool_timeout=patience,
                hide_parameters=True,  # error messages must not contain what a client sent
            )
        except ModuleNotFoundError as error:
            raise LedgerError(
                f"UQ4CT_DATABASE_URL: {parsed.drivername} needs the extra `postgres` ({error}): "
                "pip install 'uq4ct[postgres]'"
            ) from error
        drop_after_server_errors(self.engine)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _set_pragmas)

    def make_folder(self) -> None:
        """Create the folder of an SQLite file."""
        if self._file is not None:
            Path(self._file).parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection; commit at the end of the block, or roll back if it raises.

        Raises:
            LedgerUnavailableError: the database is locked, full, read-only, down, or lacks the ledger's schema; the
                message is its reason.
            IntegrityError, DataError: the row itself cannot be stored.
        """
        try:
            with self.engine.begin() as connection:
                yield connection
        except (IntegrityError, DataError):
            raise
        except (DBAPIError, PoolTimeoutError) as error:
            raise LedgerUnavailableError(reason_of(error, self.engine.url)) from error

    def insert_new(self, table: Table) -> Insert:
        """Return an insert that skips rows whose key already exists."""
        insert = sqlite.insert if self.is_sqlite else postgresql.insert
        return insert(table).on_conflict_do_nothing()

    def close(self) -> None:
        """Close idle connections."""
        self.engine.dispose()


def _connect_arguments(url: URL, patience: int) -> dict[str, Any]:
    """Return the timeouts of a connection; those in the query of the URL take precedence."""
    milliseconds = patience * 1000
    defaults: dict[str, Any] = {
        "connect_timeout": patience,
        "options": f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds * _STATEMENT_PATIENCES}",
        # Detect a server that disappears without closing the connection.
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 15_000,
    }
    if url.drivername == "sqlite":
        defaults = {"timeout": float(patience)}
    return {name: value for name, value in defaults.items() if name not in url.query}


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
