"""Drop connections to a database that no longer takes writes, so that the next statement opens a new connection.

After a failover the old primary may stay up, but read-only: its connections still answer the pool's ping.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

# SQLSTATEs of a server that cannot be written, whatever the statement. Source: PostgreSQL documentation, appendix A
# "PostgreSQL Error Codes". A pooler may pass them on without closing the connection.
_SQLSTATES = frozenset(
    {
        "25006",  # read_only_sql_transaction: a standby, or a primary that became read-only
        "40001",  # serialization_failure: in READ COMMITTED, raised by a standby ("Handling Query Conflicts")
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P04",  # database_dropped
        "57P05",  # idle_session_timeout
    }
)
_CONNECTION_EXCEPTIONS = "08"  # the whole class
# Primary result codes (https://sqlite.org/rescode.html). A connection keeps files open as they were at its start, so it
# stays read-only when the file has become writable, and keeps failing when the disk was replaced.
_SQLITE_CODES = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})


def drop_after_server_errors(engine: Engine) -> None:
    """Drop all connections of the pool after an error that another connection may not have."""
    event.listen(engine, "handle_error", _mark)


def is_server_error(error: BaseException | None) -> bool:
    """Return whether a driver's error comes from the state of the server or file, not from the statement."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0)  # missing where the module itself raised the error
        return code & 0xFF in _SQLITE_CODES
    state = getattr(error, "sqlstate", None) or ""
    return state in _SQLSTATES or state.startswith(_CONNECTION_EXCEPTIONS)


def _mark(context: ExceptionContext) -> None:
    """SQLAlchemy drops this connection, and the others when they are next used."""
    if is_server_error(context.original_exception):
        context.is_disconnect = True
