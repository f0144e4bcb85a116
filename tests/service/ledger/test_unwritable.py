"""A ledger that cannot be written: a required one stops the start, or answers; the log states the reason."""

from __future__ import annotations

import asyncio
import re
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event, make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from tests.ports import free_port
from tests.service.conftest import Start
from tests.service.engine.engines import until
from tests.service.ledger.conftest import count_rows, serve_toy
from tests.service.ledger.postgres import PostgresServer
from tests.service.ledger.read_only import (
    as_reader,
    copy_with_modes,
    file_modes_hold,
    read_only_sessions,
)
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.connections import is_server_error
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerError, LedgerUnavailableError
from uq4ct.service.ledger.ledger import Ledger
from uq4ct.service.ledger.probing import probe_write
from uq4ct.service.ledger.reasons import log_fields, reason_of
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]
_SHARED_MEMORY = 40_000  # bytes; SQLite's index of the log has 32 KiB
REASONS = {
    "read-only mode": "attempt to write a readonly database",
    "read-only file": "attempt to write a readonly database",
    "read-only folder": "(attempt to write a readonly|unable to open) database",
    "read-only server": "cannot execute INSERT in a read-only transaction",
    "role that reads": "permission denied for table predictions",
}


@pytest.fixture(params=REASONS)
def unwritable(request: pytest.FixtureRequest, empty_ledger: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The URL of a ledger with its schema that can be read only, and the database's reason."""
    case = request.param
    with ExitStack() as stack:
        if case in ("read-only server", "role that reads"):
            postgres: PostgresServer = request.getfixturevalue("postgres")
            url = postgres.empty_ledger()
            if case == "role that reads":
                yield as_reader(postgres, url), REASONS[case]
            else:
                yield f"{url}&options=-c%20default_transaction_read_only%3Don", REASONS[case]
        elif case == "read-only mode":
            yield f"sqlite:///file:{empty_ledger}?mode=ro&uri=true", REASONS[case]
        else:
            modes = (0o400, 0o700) if case == "read-only file" else (0o600, 0o500)
            copy = copy_with_modes(empty_ledger, tmp_path / "own", file_mode=modes[0], folder_mode=modes[1])
            url = stack.enter_context(copy)
            stack.enter_context(file_modes_hold())
            yield url, REASONS[case]


async def test_a_required_ledger_that_cannot_be_written_stops_the_start(
    unwritable: tuple[str, str], adapters: Registry
) -> None:
    url, reason = unwritable
    with pytest.raises(LedgerError, match=f"^UQ4CT_DATABASE_URL: the ledger cannot be .*: {reason}") as caught:
        await asyncio.wait_for(serve_toy(adapters, url), 20)
    assert "\n" not in str(caught.value)


@pytest.mark.slow  # an exit waits seconds for the database
async def test_without_a_required_ledger_answers_go_on_and_the_log_says_why(
    unwritable: tuple[str, str], start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    url, reason = unwritable
    async with start(database_url=url, ledger_required=False, ledger_buffer=2) as replica:
        assert not replica.context.ledger.writable
        for number in range(3):
            assert (await replica.ask(f"{number}?")).status_code == 200
        assert (await replica.client.get("/health/ready")).status_code == 200
        registry = replica.registry
    assert registry.get_sample_value("uq4ct_ledger_unlogged_total") == 3
    said = [
        vars(record) for record in caplog.records if record.getMessage() in ("ledger not opened", "ledger not writable")
    ]
    assert [bool(re.search(reason, fields["reason"])) for fields in said] == [True], "once, however often it fails"


async def test_a_ledger_that_becomes_unwritable_answers_503_and_recovers_by_itself(
    start: Start, url: str, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    settings: dict[str, Any] = {"ledger_flush_seconds": 0.05}
    async with start(database_url=url, **settings) as replica:
        answered = [(await replica.ask("before")).json()["prediction_id"]]
        await replica.context.ledger.flush()
        with read_only_sessions(replica.context.ledger.database):
            answered.append((await replica.ask("not noticed yet")).json()["prediction_id"])
            await replica.settle(lambda: not replica.context.ledger.writable)
            for refused in (await replica.client.get("/health/ready"), await replica.ask("in trouble")):
                assert (refused.status_code, refused.json()["type"]) == (503, "urn:uq4ct:problem:ledger-unavailable")
                assert "transaction" not in refused.text, "the database's reason is for the log"
                assert "readonly" not in refused.text
            assert replica.sample("rejected_total", reason="ledger_unavailable") == 1
            label = {"prediction_id": answered[0], "answer": 0}
            assert (await replica.post("/feedback", label)).status_code == 503
        await replica.settle(lambda: replica.context.ledger.writable)
        for prediction_id in answered:
            stored = await replica.post("/feedback", {"prediction_id": prediction_id, "answer": 0})
            assert stored.json()["result"] == "accepted"
        assert replica.sample("ledger_unlogged_total") == 0
    assert count_rows(database) == (2, 2)
    (said,) = [record for record in caplog.records if record.getMessage() == "ledger not writable"]
    assert ("readonly database" if database.is_sqlite else "read-only transaction") in said.reason  # type: ignore[attr-defined]


async def test_questions_wait_for_a_required_ledger_to_open(start: Start, url: str, database: Database) -> None:
    """A lock at the start is waited for; until the ledger is open, an answer might be lost."""
    statement = "BEGIN EXCLUSIVE" if database.is_sqlite else "LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE"
    with database.engine.connect() as connection:
        connection.exec_driver_sql(statement)
        async with start(database_url=url, wait=False) as replica:
            await replica.context.engine.wait_until_loaded()
            refused = await replica.ask()
            assert (refused.status_code, refused.json()["type"]) == (503, "urn:uq4ct:problem:ledger-unavailable")
            connection.rollback()
            await replica.context.ledger.wait_until_opened()
            assert (await replica.ask()).status_code == 200
    assert count_rows(database) == (1, 0)


async def test_a_write_that_hangs_makes_the_ledger_unwritable(adapters: Registry, url: str, database: Database) -> None:
    """Like a commit that waits for a synchronous standby that is down: no timeout of the server ends it."""
    may_end = threading.Event()
    may_end.set()
    ledger = Ledger(
        Settings(database_url=url), adapters, Metrics(CollectorRegistry()), time.time, 0.02, longest_write=0.2
    )

    def hang(_connection: object) -> None:
        if threading.current_thread().name == "ledger-writer":
            may_end.wait(20)

    event.listen(ledger.database.engine, "commit", hang)
    ledger.start()
    try:
        await ledger.wait_until_opened()
        with ledger.places(1):
            assert ledger.writable
        may_end.clear()
        await until(lambda: not ledger.writable)
        with pytest.raises(LedgerUnavailableError):
            ledger.places(1)
        may_end.set()
        await until(lambda: ledger.writable)
    finally:
        may_end.set()
        await ledger.close()


@pytest.mark.slow
def test_a_full_disk_stops_the_start(empty_ledger: Path, store_dir: Path, tmp_path: Path) -> None:
    """A limit on the size of files leaves the write-ahead log no room for a row."""
    ledger = tmp_path / "ledger.sqlite3"
    ledger.write_bytes(empty_ledger.read_bytes())
    log = Path(f"{ledger}-wal")
    with closing(sqlite3.connect(ledger)) as connection:  # while it is open, nobody empties the log
        connection.execute("PRAGMA wal_autocheckpoint=0")
        while not log.exists() or log.stat().st_size < _SHARED_MEMORY:
            connection.execute("UPDATE alembic_version SET version_num = version_num")
            connection.commit()
        size = log.stat().st_size
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.service.fake_server",
                store_dir,
                str(free_port()),
                "0",
                f"sqlite:///{ledger}",
            ],
            check=False,
            cwd=ROOT,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 1
    assert "UQ4CT_DATABASE_URL: the ledger cannot be written: disk I/O error" in done.stderr.splitlines()[-1]


def test_a_probe_leaves_no_row(database: Database) -> None:
    for _ in range(3):
        probe_write(database)
    assert count_rows(database) == (0, 0)


def test_a_probe_writes_to_the_log_of_the_database(database: Database) -> None:
    """Otherwise a full disk would pass."""

    def position() -> object:
        if database.is_sqlite:
            return Path(f"{database.engine.url.database}-wal").stat().st_size
        with database.transaction() as connection:
            return connection.exec_driver_sql("SELECT pg_current_wal_flush_lsn()::text").scalar()

    with database.transaction() as connection:  # SQLite creates the file of its log
        connection.exec_driver_sql("SELECT 1 FROM predictions").all()
    before = position()
    probe_write(database)
    assert position() != before


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((psycopg.errors.lookup(state)("said"), True) for state in ("25006", "40001", "57P01", "57P02", "57P03")),
        *((psycopg.errors.lookup(state)("said"), True) for state in ("57P04", "57P05", "08006", "08P01")),
        *((psycopg.errors.lookup(state)("said"), False) for state in ("23505", "22P02", "25P02", "40P01", "42501")),
        *((psycopg.errors.lookup(state)("said"), False) for state in ("42P01", "53100", "55P03", "57014")),
        (psycopg.OperationalError("no state"), False),
        (None, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_errors_come_from_the_server(error: BaseException | None, expected: bool) -> None:
    assert is_server_error(error) is expected


def test_a_reason_has_no_secret_and_no_row() -> None:
    url = make_url("postgresql+psycopg://ledger:s3cret@host/ledger?sslpassword=hidden")
    cause = psycopg.OperationalError('connection failed:\n\tpassword "s3cret", key "hidden" rejected')
    error = OperationalError(None, None, cause)
    assert reason_of(error, url) == 'connection failed: password "***", key "***" rejected'
    unavailable = LedgerUnavailableError(reason_of(error, url))
    unavailable.__cause__ = error
    assert log_fields(unavailable) == {"error": "OperationalError", "reason": str(unavailable)}
    row = IntegrityError("INSERT", None, psycopg.errors.UniqueViolation("Key (tenant)=(acme) already exists"))
    assert log_fields(row) == {"error": "UniqueViolation"}


def test_a_reason_of_the_server_leaves_out_details(postgres: PostgresServer) -> None:
    url = postgres.empty_ledger()
    database = Database(url)
    quoting = "DO $$ BEGIN RAISE EXCEPTION 'broken' USING DETAIL = 'row (acme)', ERRCODE = '57P01'; END $$"
    with pytest.raises(LedgerUnavailableError, match=r"^broken$"), database.transaction() as connection:
        connection.exec_driver_sql(quoting)
    database.close()


def test_the_rest_of_the_pool_is_replaced_too(database: Database) -> None:
    with read_only_sessions(database):
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(database.engine.connect())
        with pytest.raises(LedgerUnavailableError, match=r"read-?only"):
            probe_write(database)
    for _ in range(3):
        probe_write(database)
