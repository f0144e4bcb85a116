"""Ledgers that this process may read but not write, and ledgers that become so and recover."""

from __future__ import annotations

import ctypes
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, text

from tests.service.ledger.postgres import PostgresServer
from uq4ct.service.ledger.database import Database

_CAPABILITY_VERSION_3 = 0x20080522
_DAC_OVERRIDE = 1 << 1  # the capability to ignore the modes of files; see capabilities(7)


@contextmanager
def file_modes_hold() -> Iterator[None]:
    """Let this thread, and those that it starts, obey the modes of files, even if they belong to root."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # of the calling thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice 32 bits of each
    _check(libc.capget(header, sets))
    before = sets[0]
    sets[0] = before & ~_DAC_OVERRIDE
    _check(libc.capset(header, sets))
    try:
        yield
    finally:
        sets[0] = before
        _check(libc.capset(header, sets))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextmanager
def copy_with_modes(ledger: Path, folder: Path, *, file_mode: int, folder_mode: int) -> Iterator[str]:
    """Yield the URL of a copy of an SQLite ledger in a new folder."""
    folder.mkdir()
    copy = Path(shutil.copy(ledger, folder / "ledger.sqlite3"))
    copy.chmod(file_mode)
    folder.chmod(folder_mode)
    try:
        yield f"sqlite:///{copy}"
    finally:
        folder.chmod(0o700)


def run_on_server(url: str, *statements: str) -> None:
    """Run statements outside a transaction."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def as_reader(postgres: PostgresServer, url: str) -> str:
    """Return the URL for a new role that may only read."""
    role = f"reader_{uuid.uuid4().hex}"
    run_on_server(url, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    return url.replace("postgres:@", f"{role}:@")


@contextmanager
def read_only_sessions(database: Database) -> Iterator[None]:
    """Make every connection read-only that is used during the block; it stays so for its whole life.

    It resembles a connection to a server that lost its role, or to a file opened read-only.
    """

    spoiling = True

    def spoil(connection: Any, _record: object, _proxy: object) -> None:
        if not spoiling:
            return
        statement = "PRAGMA query_only=ON" if database.is_sqlite else "SET default_transaction_read_only = on"
        connection.cursor().execute(statement)
        connection.commit()

    event.listen(database.engine, "checkout", spoil)
    try:
        yield
    finally:
        spoiling = False  # to remove the listener would break a checkout in another thread that is calling it
