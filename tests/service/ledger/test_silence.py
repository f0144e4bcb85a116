"""A database that accepts and never answers: every wait ends, and so does the process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from tests.ports import free_port
from tests.service.conftest import Start
from tests.service.engine.engines import until
from tests.service.ledger.conftest import count_rows, insert, make_record
from tests.service.ledger.postgres import PostgresServer
from tests.service.ledger.silent import SilenceableAddress, silenceable
from tests.service.readiness import until_ready
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger import database as database_module
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerError, LedgerUnavailableError
from uq4ct.service.ledger.ledger import Ledger
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.outside import NoAnswerError, OutsideCalls
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[3]


@pytest.fixture
def silent(postgres: PostgresServer) -> Iterator[tuple[str, SilenceableAddress]]:
    with silenceable(postgres.empty_ledger()) as found:
        yield found


def test_a_server_that_falls_silent_fails_each_request_in_time(
    silent: tuple[str, SilenceableAddress], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its own timeouts nor those of TCP help: the system of its machine acknowledges everything."""
    monkeypatch.setattr(database_module, "ANSWER_SLACK", -5.5)  # half a second in all
    url, address = silent
    with closing(Database(url, patience=1)) as database:
        insert(database, make_record())
        for _ in range(2):  # with a connection that is open, then with a new one
            address.answers.clear()
            started = time.monotonic()
            with pytest.raises(LedgerUnavailableError, match=r"no answer from the server in 0.5 seconds|timeout"):
                insert(database, make_record())
            assert time.monotonic() - started < 5
        address.answers.set()
        insert(database, make_record())
        assert count_rows(database)[0] >= 2


def test_a_server_that_never_answered_stops_the_start_in_time(
    silent: tuple[str, SilenceableAddress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LONGEST_CONNECT", 2)
    url, address = silent
    address.answers.clear()
    started = time.monotonic()
    with pytest.raises(LedgerError, match="cannot be opened: connection timeout expired"):
        migrate(url)
    assert time.monotonic() - started < 10


@pytest.fixture
def hang(url: str) -> Iterator[threading.Event]:
    """An event: while it is cleared, statements of every database hang, as on a file system that does not answer."""
    may_end = threading.Event()
    may_end.set()
    yield may_end
    may_end.set()


def hold(ledger: Ledger, may_end: threading.Event) -> None:
    event.listen(ledger.database.engine, "before_cursor_execute", lambda *_: may_end.wait(60) and None)


async def test_a_request_stops_waiting_for_a_database_that_hangs(
    adapters: Registry, url: str, hang: threading.Event
) -> None:
    ledger = Ledger(Settings(database_url=url), adapters, Metrics(CollectorRegistry()), time.time, longest_ask=0.2)
    ledger.start()
    await ledger.wait_until_opened()
    hold(ledger, hang)
    hang.clear()
    started = time.monotonic()
    asked = [ledger.find(make_record().prediction_id, None) for _ in range(12)]  # more than threads
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {LedgerUnavailableError}
    ledger.record(make_record())
    with pytest.raises(LedgerUnavailableError):
        await ledger.flush()
    assert time.monotonic() - started < 5
    hang.set()
    await ledger.close()


async def test_the_end_does_not_wait_for_a_database_that_hangs(
    start: Start, url: str, hang: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("uq4ct.service.ledger.ledger.LONGEST_CLOSE", 0.5)
    async with start(database_url=url, ledger_flush_seconds=60.0) as replica:
        hold(replica.context.ledger, hang)
        hang.clear()
        for number in range(3):
            assert (await replica.ask(f"{number}?")).status_code == 200
        leaving = time.monotonic()
        registry = replica.registry
    assert time.monotonic() - leaving < 5
    assert registry.get_sample_value("uq4ct_ledger_unlogged_total") == 3
    (said,) = [record for record in caplog.records if record.message.startswith("ledger hangs")]
    assert said.unlogged == 3  # type: ignore[attr-defined]
    hang.set()
    await until(lambda: not any(thread.name.startswith("ledger") for thread in threading.enumerate()))
    replica.context.ledger.database.close()


async def test_calls_that_hang_are_bounded_in_number_and_end_with_the_process() -> None:
    may_end = threading.Event()
    calls = OutsideCalls(2, "outside", 0.05)
    for _ in range(1000):
        calls.submit(may_end.wait)
    with pytest.raises(NoAnswerError, match="1000 calls wait already"):
        calls.submit(may_end.wait)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("outside")]
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    assert not await calls.close(0.05)
    may_end.set()
    assert await calls.close(10)


async def test_a_call_returns_or_raises_what_its_function_does() -> None:
    calls = OutsideCalls(2, "outside", 5.0)
    assert await asyncio.gather(*(calls.ask(pow, 2, number) for number in range(50))) == [2**n for n in range(50)]
    with pytest.raises(ZeroDivisionError):
        await calls.ask(divmod, 1, 0)
    with pytest.raises(NoAnswerError, match=r"no answer in 0.01 seconds"):
        await calls.ask(time.sleep, 0.2, seconds=0.01)
    assert await calls.close(5)


@pytest.mark.slow
async def test_sigterm_ends_the_process_although_the_database_is_silent(
    silent: tuple[str, SilenceableAddress], store_dir: Path, tmp_path: Path
) -> None:
    """The real server: /feedback gets 503 in time, and the process ends within its bounds."""
    url, address = silent
    port, log = free_port(), tmp_path / "log"
    command = [sys.executable, "-m", "tests.service.fake_server", str(store_dir), str(port), "0.001", url]
    with log.open("wb") as stderr, subprocess.Popen(command, cwd=ROOT, stderr=stderr, env={**os.environ}) as process:
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                await until_ready(client)
                question: dict[str, Any] = {"question": "Which one?", "options": ["this", "that"]}
                answer = (await client.post("/predict", json=question)).json()["prediction_id"]
                await asyncio.sleep(2)  # it is written
                address.answers.clear()
                told = time.monotonic()
                label = await client.post("/feedback", json={"prediction_id": answer, "answer": 0})
                assert (label.status_code, label.json()["type"]) == (503, "urn:uq4ct:problem:ledger-unavailable")
                assert time.monotonic() - told < 25
                assert (await client.get("/health/live")).status_code == 200
            process.send_signal(signal.SIGTERM)
            ending = time.monotonic()
            assert await asyncio.to_thread(process.wait, 60) == 0
            print({"seconds to the end": round(time.monotonic() - ending, 1)})  # for pytest -s
        finally:
            process.kill()
    logging.getLogger(__name__).info(log.read_text())
    assert "Traceback" not in log.read_text()
