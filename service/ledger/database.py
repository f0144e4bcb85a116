"""The database of the ledger: SQLite or PostgreSQL, used from threads, never from the event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, Insert, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from uq4ct.service.ledger.connections import drop_after_server_errors
from uq4ct.service.ledger.failures import LedgerError, LedgerUnavailableError
from uq4ct.service.ledger.reasons import reason_of
from uq4ct.service.ledger.sqlite_files import FileWatch, create_file, path_of
from uq4ct.service.settings import parse_database_url

PATIENCE = 2  # seconds that a statement waits for a lock
_POOL = 8
_STATEMENT_PATIENCES = 5  # statement timeout as a multiple of the lock timeout
LONGEST_CONNECT = 10  # seconds
ANSWER_SLACK = 3  # seconds that a server may need to report its own timeouts
_PRAGMAS = ("synchronous=FULL", "foreign_keys=ON")  # FULL: a commit in WAL mode survives a power cut
# Without statistics, or with old ones, the planner may expect a few rows where there are millions, and would then read
# them all and sort them.
_INDEXES_ONLY = "; ".join(
    f"SET LOCAL enable_{plan} = off" for plan in ("seqscan", "bitmapscan", "sort", "incremental_sort")
)


class Database:
    """A connection pool that raises its failures as `LedgerUnavailableError`."""

    def __init__(self, url: str, patience: int = PATIENCE) -> None:
        """Prepare the pool without connecting.

        Raises:
            LedgerError: the driver is not installed.
        """
        parsed = parse_database_url(url)
        self.is_sqlite = parsed.drivername == "sqlite"
        self._watch = FileWatch(path_of(parsed)) if self.is_sqlite else None
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
        if (watch := self._watch) is not None:
            event.listen(self.engine, "connect", partial(_open_files, watch))
            event.listen(self.engine, "close", lambda *_: watch.closed())
        else:
            from uq4ct.service.ledger.bounded_postgres import bound_waits  # noqa: PLC0415  needs the extra `postgres`

            bound_waits(self.engine, patience * (_STATEMENT_PATIENCES + 1) + ANSWER_SLACK)

    def create_file(self) -> None:
        """Create the file of an SQLite database if it is missing, unless the URL says not to."""
        if self.is_sqlite and self.engine.url.query.get("mode", "rwc") == "rwc":
            create_file(path_of(self.engine.url))

    @property
    def lost(self) -> bool:
        """Whether a file of the database was removed or replaced while it was open; see `reopen`."""
        return self._watch is not None and self._watch.lost

    def reopen(self, *, allow_new: bool) -> bool:
        """Close every connection of a lost database; return whether there is another file or none at its path now.

        Raises:
            LedgerFileError: there is, and `allow_new` is not set.
            LedgerUnavailableError: connections are still in use.
        """
        if self._watch is None:
            return False
        with self._watch.reopen(allow_new=allow_new) as is_new:
            self.engine.dispose()
        return is_new

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection; commit at the end of the block, or roll back if it raises.

        Raises:
            LedgerUnavailableError: the database is locked, full, read-only, down, or lacks the ledger's schema, or its
                file is not the one that was opened; the message is its reason.
            IntegrityError, DataError: the row itself cannot be stored.
        """
        try:
            with nullcontext() if self._watch is None else self._watch.use(), self.engine.connect() as connection:
                with connection.begin():
                    yield connection
                if self._watch is not None:
                    self._watch.check()
        except (IntegrityError, DataError):
            raise
        except (DBAPIError, PoolTimeoutError) as error:
            raise LedgerUnavailableError(reason_of(error, self.engine.url)) from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a connection that only reads, and sees the ledger of one moment; raises like `transaction`."""
        begin = "BEGIN" if self.is_sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        with self.transaction() as connection:
            connection.exec_driver_sql(begin)
            self.use_indexes(connection)
            yield connection

    def use_indexes(self, connection: Connection) -> None:
        """Make PostgreSQL read the index that has the wanted order until the transaction ends; SQLite always does."""
        if not self.is_sqlite:
            connection.exec_driver_sql(_INDEXES_ONLY)

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
        "connect_timeout": min(patience, LONGEST_CONNECT),
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


def _open_files(watch: FileWatch, connection: Any, _record: object) -> None:
    """Prepare a connection, and note which files it has open."""
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()  # opens the write-ahead log and its index
    cursor.close()
    watch.connected()
