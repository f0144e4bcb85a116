"""PostgreSQL connections that give up on a server that accepts a statement and never answers.

Timeouts of the server do not help if it is stopped, and those of TCP do not if its system still acknowledges.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Engine, event

T = TypeVar("T")


class _BoundedConnection(psycopg.Connection[Any]):
    longest: float  # seconds

    def wait(self, gen: Generator[Any, Any, T], *arguments: Any, **options: Any) -> T:
        """Wait for the server's answer to one request; every operation except connecting goes through here.

        Raises:
            psycopg.OperationalError: there was none in time; the connection is closed.
        """
        return super().wait(self._bound(gen), *arguments, **options)

    def _bound(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Pass on a generator of psycopg, which resumes it at least ten times a second while it waits."""
        deadline = time.monotonic() + self.longest
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if time.monotonic() >= deadline:
                    self.close()  # also a rollback would wait for the server
                    raise psycopg.OperationalError(f"no answer from the server in {self.longest:g} seconds")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


def bound_waits(engine: Engine, seconds: float) -> None:
    """Let every request to the server fail after `seconds` without an answer; connecting has a timeout of its own."""

    def connect(_dialect: object, _record: object, arguments: Any, options: Any) -> _BoundedConnection:
        connection = _BoundedConnection.connect(*arguments, **options)
        connection.longest = seconds
        return connection

    event.listen(engine, "do_connect", connect)
