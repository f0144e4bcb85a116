"""Ledgers that this process may read but not write, and ledgers that become so and recover."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, text

from tests.service.ledger.conftest import PostgresServer
from uq4ct.service.ledger.database import Database

_NOBODY = 65534


@contextmanager
def file_modes_hold() -> Iterator[None]:
    """Let this process obey the modes of files: root does not, so act as another user during the block."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def copy_for_everyone(ledger: Path, *, file_mode: int, folder_mode: int) -> Iterator[str]:
    """Yield the URL of a copy of an SQLite ledger in a folder that other users can reach."""
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    try:
        copy = Path(shutil.copy(ledger, folder / "ledger.sqlite3"))
        copy.chmod(file_mode)
        folder.chmod(folder_mode)
        yield f"sqlite:///{copy}"
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


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


def session_switch(database: Database) -> Callable[[bool], None]:
    """Return a function that makes new connections read-only, or writable again.

    An open connection stays as it is, like one to a server that lost its role, or to a file opened read-only.
    """
    read_only = {"now": False}

    def configure(connection: Any, _record: object) -> None:
        if read_only["now"]:
            pragma, setting = "PRAGMA query_only=ON", "SET default_transaction_read_only = on"
            connection.cursor().execute(pragma if database.is_sqlite else setting)
            connection.commit()

    event.listen(database.engine, "connect", configure)

    def switch(now: bool) -> None:
        read_only["now"] = now
        if now:
            database.engine.dispose()

    return switch
