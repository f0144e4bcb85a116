"""The ledger locked, full or down: predictions continue, no loss is silent, and it recovers by itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import QueuePool

from tests.service.conftest import Replica, Start
from tests.service.engine.engines import until
from tests.service.ledger.conftest import count_rows, make_record, serve_toy
from tests.service.ledger.postgres import PostgresServer
from uq4ct.client import Ask, AsyncClient, Prediction, Problem, UnavailableError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.buffer import Buffer
from uq4ct.service.ledger.cohorts import LiveCalibration
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerError, LedgerUnavailableError
from uq4ct.service.ledger.ledger import Ledger
from uq4ct.service.ledger.tables import predictions
from uq4ct.service.ledger.windows import window_of
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio
ROOM = 6
REQUIRED: dict[str, Any] = {"ledger_buffer": ROOM, "max_client_batch_size": ROOM, "ledger_flush_seconds": 0.05}


@pytest.fixture
def impatient_url(url: str) -> str:
    """The URL of the ledger with short waits for locks."""
    short = "timeout=0.2" if url.startswith("sqlite") else "options=-c%20lock_timeout%3D200"
    return f"{url}{'&' if '?' in url else '?'}{short}"


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Lock the whole ledger from another connection."""
    statement = "BEGIN EXCLUSIVE" if database.is_sqlite else "LOCK TABLE predictions, labels IN ACCESS EXCLUSIVE MODE"
    with database.engine.connect() as connection:
        connection.exec_driver_sql(statement)
        yield
        connection.rollback()


def slug(response: Any) -> str:
    """The kind of a problem."""
    assert response.status_code >= 400, response.text
    return response.json()["type"].rpartition(":")[2]


async def predictions_go_on(replica: Replica, answered: str, *, more: int, waiting: int = 0) -> None:
    """Check that, without writes, answers are buffered, then unlogged; feedback and idempotency keys get 503."""
    asked = [await replica.ask(f"in trouble {number}") for number in range(more)]
    assert {response.status_code for response in asked} == {200}
    await replica.settle(lambda: not replica.context.ledger.writable)
    assert replica.sample("ledger_buffer_depth") == ROOM
    assert replica.sample("ledger_unlogged_total") == waiting + more - ROOM
    # Labels of buffered predictions are rejected at once: none of them waits for the writer's next attempt.
    buffered = {"prediction_id": asked[0].json()["prediction_id"], "answer": 0}
    async with asyncio.timeout(4):
        for _ in range(12):
            assert slug(await replica.client.post("/feedback", json=buffered)) == "ledger-unavailable"
    body = {"prediction_id": answered, "answer": 0}
    response = await replica.client.post("/feedback", json=body)
    assert (response.status_code, slug(response)) == (503, "ledger-unavailable")
    assert response.headers["retry-after"] == "1"
    # Only one of them waits for the lock.
    batch = await asyncio.wait_for(replica.client.post("/feedback/batch", json={"feedback": [body] * 40}), 4)
    assert {item["type"].rpartition(":")[2] for item in batch.json()["results"]} == {"ledger-unavailable"}
    assert slug(await replica.ask("with a key", idempotency_key="k")) == "ledger-unavailable"
    assert (await replica.client.get("/health/ready")).status_code == 200
    assert replica.sample("feedback_total", result="accepted") == 0


async def it_comes_back(replica: Replica, database: Database, answered: str, *, stored: int) -> None:
    """Check that buffered predictions are written and labels are accepted again."""
    await replica.settle(lambda: replica.context.ledger.writable and not replica.sample("ledger_buffer_depth"))
    assert count_rows(database) == (stored, 0)
    accepted = await replica.client.post("/feedback", json={"prediction_id": answered, "answer": 0})
    assert accepted.json()["result"] == "accepted"
    assert replica.sample("feedback_total", result="accepted") == 1
    assert (await replica.ask("with a key", idempotency_key="k")).status_code == 200


async def first_answer(replica: Replica) -> str:
    """Ask a question and return its id once the answer is in the ledger."""
    identifier = (await replica.ask("before")).json()["prediction_id"]
    await replica.context.ledger.flush()
    return identifier


async def test_locked(start: Start, impatient_url: str, database: Database) -> None:
    settings: dict[str, Any] = {"ledger_required": False, "ledger_buffer": ROOM, "ledger_flush_seconds": 0.05}
    async with start(database_url=impatient_url, **settings) as replica:
        answered = await first_answer(replica)
        with locked(database):
            await predictions_go_on(replica, answered, more=ROOM + 3)
        await it_comes_back(replica, database, answered, stored=1 + ROOM)
        assert replica.sample("ledger_unlogged_total") == 3


@pytest.mark.slow
async def test_postgres_goes_down_and_comes_back(start: Start, postgres: PostgresServer) -> None:
    url = postgres.empty_ledger()
    settings: dict[str, Any] = {"ledger_required": False, "ledger_buffer": ROOM, "ledger_flush_seconds": 0.05}
    async with start(database_url=url, **settings) as replica:
        answered = await first_answer(replica)
        postgres.stop()
        try:
            await predictions_go_on(replica, answered, more=ROOM + 2)
        finally:
            postgres.start()
        database = Database(url)
        await it_comes_back(replica, database, answered, stored=1 + ROOM)
        database.close()


async def test_full(start: Start, empty_ledger: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3?timeout=0.2"
    limit = {"pages": 1}  # SQLite uses the current number of pages if that is larger

    def set_limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={limit['pages']}")

    settings: dict[str, Any] = {"ledger_required": False, "ledger_buffer": ROOM, "ledger_flush_seconds": 0.05}
    async with start(database_url=url, store_questions=True, **settings) as replica:
        answered = await first_answer(replica)
        engine = replica.context.ledger.database.engine
        event.listen(engine, "connect", set_limit)
        engine.dispose()
        for number in range(ROOM + 1):
            assert (await replica.ask(f"{number}" * 20_000)).status_code == 200
        await replica.settle(lambda: not replica.context.ledger.writable)
        assert replica.sample("ledger_unlogged_total") == 1
        assert (await replica.client.get("/health/ready")).status_code == 200
        limit["pages"] = 10_000
        engine.dispose()
        database = Database(url)
        await it_comes_back(replica, database, answered, stored=1 + ROOM)
        database.close()


@pytest.mark.slow
async def test_unwritable_to_the_end(start: Start, empty_ledger: Path) -> None:
    """Predictions not written when the replica exits are counted, and the exit does not wait forever."""
    url = f"sqlite:///file:{empty_ledger}?mode=ro&uri=true&timeout=0.2"
    async with start(database_url=url, ledger_required=False, ledger_buffer=ROOM) as replica:
        answered = (await replica.ask()).json()["prediction_id"]
        await predictions_go_on(replica, answered, more=ROOM + 1, waiting=1)
        registry = replica.registry
    assert registry.get_sample_value("uq4ct_ledger_unlogged_total") == ROOM + 2
    assert registry.get_sample_value("uq4ct_ledger_buffer_depth") == 0


async def test_a_ledger_that_is_required_takes_the_replica_out(
    start: Start, impatient_url: str, database: Database
) -> None:
    async with start(database_url=impatient_url, **REQUIRED) as replica:
        await first_answer(replica)
        assert (await replica.client.get("/health/ready")).status_code == 200
        with locked(database):
            assert (await replica.ask("not noticed yet")).status_code == 200
            await replica.settle(lambda: not replica.context.ledger.writable)
            assert slug(await replica.client.get("/health/ready")) == "ledger-unavailable"
            refused = await replica.ask("in trouble")
            assert (refused.status_code, slug(refused)) == (503, "ledger-unavailable")
            assert replica.sample("rejected_total", reason="ledger_unavailable") == 1
        await replica.settle(lambda: replica.context.ledger.writable)
        assert (await replica.client.get("/health/ready")).status_code == 200
        assert replica.sample("ledger_unlogged_total") == 0
    assert count_rows(database) == (1 + 1, 0)


async def test_a_required_ledger_keeps_a_place_for_every_answer_that_is_on_its_way(
    start: Start, impatient_url: str, database: Database
) -> None:
    """All questions are asked before the first answer: the answered ones are stored, the others rejected."""
    async with start(database_url=impatient_url, **REQUIRED) as replica:
        await first_answer(replica)
        with locked(database):
            asked = await asyncio.gather(*(replica.ask(f"at once {number}") for number in range(4 * ROOM)))
        answered = [response for response in asked if response.status_code == 200]
        assert len(answered) == ROOM
        assert {slug(response) for response in asked if response.status_code != 200} == {"ledger-unavailable"}
        await replica.settle(lambda: not replica.sample("ledger_buffer_depth"))
        assert replica.sample("ledger_unlogged_total") == 0
        assert (await replica.ask("afterwards")).status_code == 200
    assert count_rows(database) == (1 + ROOM + 1, 0)


async def test_keys_of_a_batch_wait_for_the_ledger_once(start: Start, impatient_url: str, database: Database) -> None:
    """At most one of them waits for the lock."""
    settings: dict[str, Any] = {"ledger_required": False, "ledger_flush_seconds": 60.0}
    async with start(database_url=impatient_url, **settings) as replica:
        questions = [{"question": f"{n}?", "options": ["a", "b"], "idempotency_key": f"k{n}"} for n in range(40)]
        with locked(database):
            body = {"questions": questions}
            response = await asyncio.wait_for(replica.client.post("/predict/batch", json=body), 4)
        assert {item["type"].rpartition(":")[2] for item in response.json()["results"]} == {"ledger-unavailable"}
        assert replica.sample("rejected_total", reason="ledger_unavailable") == 40
        again = await replica.client.post("/predict/batch", json=body)
        assert {item["option"]["label"] for item in again.json()["results"]} <= {"A", "B"}


async def test_the_client_s_own_keys_do_not_cost_it_answers(
    start: Start, impatient_url: str, database: Database
) -> None:
    """Predictions continue without the ledger although the client adds keys; only a caller's own key fails."""
    settings: dict[str, Any] = {"ledger_required": False, "ledger_flush_seconds": 0.05}
    async with start(database_url=impatient_url, **settings) as replica:
        transport = httpx2.ASGITransport(replica.app)
        async with AsyncClient("http://localhost", transport=transport, sleep=lambda _: asyncio.sleep(0.01)) as client:
            with locked(database):
                one = await client.predict("One?", ("a", "b"))
                ask: Ask = {"question": "Two?", "options": ("a", "b")}
                own: Ask = {"question": "Three?", "options": ("a", "b"), "idempotency_key": "k"}
                two, kept = await client.predict_batch([ask, own])
                with pytest.raises(UnavailableError, match="ledger"):
                    await asyncio.wait_for(client.predict(**own), 60)
            assert isinstance(two, Prediction)
            assert isinstance(kept, Problem)
            await replica.settle(lambda: replica.context.ledger.writable and not replica.sample("ledger_buffer_depth"))
            for made in (one, two):
                assert (await client.prediction(made.prediction_id)).prediction_id == made.prediction_id


async def test_an_idle_ledger_notices(adapters: Registry, impatient_url: str, database: Database) -> None:
    settings = Settings(database_url=impatient_url)
    ledger = Ledger(settings, adapters, Metrics(CollectorRegistry()), time.time, probe_seconds=0.05)
    ledger.start()
    try:
        await ledger.wait_until_opened()
        assert ledger.writable
        with locked(database):
            await until(lambda: not ledger.writable)
        await until(lambda: ledger.writable)
    finally:
        await ledger.close()


async def test_a_row_that_cannot_be_stored_keeps_nobody_up(start: Start, url: str, database: Database) -> None:
    async with start(database_url=url, ledger_flush_seconds=60.0) as replica:
        good = [make_record() for _ in range(4)]
        poison = make_record(tags=(object(),))
        for record in (*good[:2], poison, *good[2:]):
            replica.context.ledger.record(record)
        await replica.context.ledger.flush()
        assert replica.sample("ledger_unlogged_total") == 1
        assert replica.context.ledger.writable
        assert count_rows(database) == (4, 0)


async def test_what_is_buffered_is_written_at_the_end(start: Start, url: str, database: Database) -> None:
    async with start(database_url=url, ledger_flush_seconds=60.0) as replica:
        for number in range(1200):
            replica.context.ledger.record(make_record(tags=(str(number),)))
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 20
    assert count_rows(database) == (1200, 0)


async def test_a_ledger_that_cannot_be_opened_ends_the_server_with_one_message(
    adapters: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.joinpath("file").touch()
    url = f"sqlite:///{tmp_path}/file/ledger.sqlite3"
    with pytest.raises(LedgerError, match=r"DATABASE_URL: .*file"):
        await asyncio.wait_for(serve_toy(adapters, url), 20)
    assert "ledger.sqlite3" not in str([vars(record) for record in caplog.records])  # the command prints it


async def test_it_opens_later_where_it_is_not_required(start: Start, tmp_path: Path) -> None:
    blocker = tmp_path / "folder"
    blocker.touch()
    url = f"sqlite:///{blocker}/ledger.sqlite3"
    async with start(database_url=url, ledger_required=False, ledger_flush_seconds=0.05) as replica:
        identifier = (await replica.ask()).json()["prediction_id"]
        body = {"prediction_id": identifier, "answer": 0}
        assert slug(await replica.client.post("/feedback", json=body)) == "ledger-unavailable"
        blocker.unlink()
        await replica.settle(lambda: replica.context.ledger.writable)
        assert (await replica.client.post("/feedback", json=body)).json()["result"] == "accepted"


def test_a_flush_ends_with_what_it_waits_for() -> None:
    buffer = Buffer(3, 60.0, Metrics(CollectorRegistry()))
    assert buffer.flush().done()
    records = [make_record() for _ in range(4)]
    for record in records[:2]:
        buffer.put(record)
    flush = buffer.flush()
    assert not flush.cancel()  # waiters may stop waiting; the writer must still be able to complete it
    with pytest.raises(LedgerUnavailableError, match="full"), buffer.places(2):
        pass
    with buffer.places(1), pytest.raises(LedgerUnavailableError, match="full"), buffer.places(1):
        pass
    with buffer.places(1):
        buffer.put(records[2])
    buffer.put(records[3])  # there is no room
    assert buffer.find(records[3].prediction_id) is None
    batch = buffer.next_batch(1, 0.0)
    assert batch == records[:1]
    buffer.settle(records[:1])
    assert not flush.done()
    buffer.settle(records[1:2])
    assert flush.done()
    failed = buffer.flush()
    buffer.fail_flushes(LedgerUnavailableError("down"))
    assert isinstance(failed.exception(), LedgerUnavailableError)


async def test_a_commit_survives_a_power_cut(database: Database) -> None:
    """A test cannot cut the power, so this checks the settings that make commits durable."""
    with database.engine.connect() as connection:
        if database.is_sqlite:
            settings = [
                connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "journal_mode")
            ]
            assert settings == [2, "wal"]  # 2 is FULL: the log is on disk before a commit returns
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


async def test_an_error_of_the_database_says_no_value(database: Database) -> None:
    """Errors are logged, so they must not quote parameters: questions, tags and hashes."""
    secret = make_record(task="said-in-confidence").to_row()
    with database.engine.begin() as connection:
        connection.execute(predictions.insert(), secret)
    with pytest.raises(IntegrityError) as caught, database.engine.begin() as connection:
        connection.execute(predictions.insert(), secret)
    assert "said-in-confidence" not in str(caught.value)


async def test_the_database_is_closed_after_the_last_call(
    start: Start, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is in use while the pool is closed would stay open."""
    in_use: list[int] = []
    close = Database.close
    begun = threading.Event()

    def note_and_close(database: Database) -> None:
        assert isinstance(database.engine.pool, QueuePool)
        in_use.append(database.engine.pool.checkedout())
        close(database)

    def read_slowly(database: Database, _window: object, _versions: int | None) -> LiveCalibration:
        with database.transaction():
            begun.set()
            time.sleep(0.3)
        return LiveCalibration([], [])

    async with start(database_url=url) as replica:
        monkeypatch.setattr(Database, "close", note_and_close)
        monkeypatch.setattr("uq4ct.service.ledger.ledger.read_calibration", read_slowly)
        reading = asyncio.create_task(replica.context.ledger.calibration(window_of(0, 10**13, None, None)))
        await asyncio.to_thread(begun.wait, 5)
    assert await reading == LiveCalibration([], [])
    assert in_use == [0]
