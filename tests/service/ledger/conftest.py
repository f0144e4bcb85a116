from __future__ import annotations

import secrets
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from tests.answers import make_answer
from tests.ports import free_port
from tests.service.access.key_holder import KeyHolder
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.ledger.postgres import PostgresServer, postgres_server
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.ledger import migrations
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import REPEATED, labels, predictions
from uq4ct.service.records import PredictionRecord
from uq4ct.service.server import serve
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

RECORD = PredictionRecord(
    **asdict(make_answer((0.3, 0.7), feu=0.5)),
    prediction_id="",
    tenant="default",
    key_hash=None,
    model="toy",
    version=1,
    adapter_digest="sha256:" + "1" * 64,
    method="uq4ct",
    task="other",
    options=2,
    bin=10,
    abstain=False,
    abstain_reason=None,
    threshold=None,
    prediction_set=None,
    coverage=None,
    tags=(),
    idempotency_key=None,
    body_hash=None,
    question=None,
)
_IDS = TimeOrderedIds(time.time, secrets.randbits)


def newest_revision() -> str:
    """Return the number of the last migration, as its file name has it."""
    return max(path.name for path in (Path(migrations.__path__[0]) / "versions").glob("0*.py")).split("_")[0]


def id_of_age(days: float) -> str:
    """Return the id of a prediction made `days` ago."""
    return TimeOrderedIds(lambda: time.time() - days * 86_400, secrets.randbits).new()


async def serve_toy(adapters: Registry, url: str) -> None:
    """Serve toy with a fake predictor and this ledger, until the service ends."""
    settings = Settings(port=free_port(), database_url=url, default_model="toy")
    app = create_app(
        lambda: FakeHost(FakePredictor(adapters.manifest("toy"))),
        adapters,
        settings,
        CollectorRegistry(),
        TimeOrderedIds(lambda: 0.0, lambda _: 0),
    )
    await serve(app, settings)


def make_record(**changes: Any) -> PredictionRecord:
    """Return a prediction made now, with a new id."""
    return replace(RECORD, **{"prediction_id": _IDS.new(), **changes})


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for the whole session."""
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def new_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Return a function that creates a database without a schema and returns its URL."""
    if backend == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{uuid.uuid4().hex}/ledger.sqlite3"
    return request.getfixturevalue("postgres").new_database


@pytest.fixture
def url(backend: str, request: pytest.FixtureRequest, tmp_path: Path, empty_ledger: Path) -> str:
    """The URL of an empty ledger for this test."""
    if backend == "sqlite":
        return f"sqlite:///{shutil.copy(empty_ledger, tmp_path)}"
    return request.getfixturevalue("postgres").empty_ledger()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The test's own connection to the ledger."""
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """An empty file of keys."""
    return KeyHolder(tmp_path)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Check that a closed ledger leaves no thread behind."""
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ledger")] == []


def count_rows(database: Database) -> tuple[int, int]:
    """Return the numbers of predictions and labels in the ledger."""
    with database.transaction() as connection:
        return tuple(connection.scalar(select(func.count()).select_from(table)) for table in (predictions, labels))  # type: ignore[return-value]


def insert(database: Database, *records: PredictionRecord) -> None:
    """Insert predictions into the ledger."""
    with database.transaction() as connection:
        connection.execute(database.insert_new(predictions), [record.to_row() for record in records])


def label_row(record: PredictionRecord, answer: int, labelled_ms: int) -> dict[str, Any]:
    """Return the row of a prediction's label."""
    return {name: getattr(record, name) for name in REPEATED} | {
        "prediction_id": record.prediction_id,
        "answer": answer,
        "correct": answer == record.option,
        "source": None,
        "labelled_ms": labelled_ms,
    }


def insert_label(database: Database, record: PredictionRecord, answer: int, delay_ms: int = 0) -> None:
    """Insert the label of a prediction into the ledger."""
    with database.transaction() as connection:
        connection.execute(database.insert_new(labels), label_row(record, answer, record.created_ms + delay_ms))
