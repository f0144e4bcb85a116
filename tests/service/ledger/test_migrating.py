"""The schema: created once however many replicas start, the same in code and migrations, never downgraded."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from tests.service.ledger.conftest import insert, make_record, newest_revision
from tests.service.ledger.postgres import PostgresServer
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerError
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.tables import METADATA, predictions

ROOT = Path(__file__).parents[3]
REPLICAS = 3
_REPLICA = """
import sys
from uq4ct.service.ledger.migrating import migrate
print("up", flush=True)
for url in sys.stdin:
    print(migrate(url.strip()), flush=True)
"""


def test_replicas_that_start_at_once_take_turns(tmp_path: Path, postgres: PostgresServer) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _REPLICA]
    replicas = [
        subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(REPLICAS)
    ]
    urls = [f"sqlite:///{tmp_path}/{number}/ledger.sqlite3" for number in range(5)]
    try:
        for url in ("up", *urls, postgres.new_database()):
            for replica in replicas:
                assert replica.stdin is not None
                replica.stdin.write("" if url == "up" else f"{url}\n")
                replica.stdin.flush()
            said = [replica.stdout.readline() for replica in replicas if replica.stdout is not None]
            assert said == ["up\n" if url == "up" else f"{newest_revision()}\n"] * REPLICAS
    finally:
        outputs = [replica.communicate() for replica in replicas]
    assert [replica.returncode for replica in replicas] == [0] * REPLICAS, outputs


def test_migrations_make_the_tables_of_the_code(new_url: Callable[[], str]) -> None:
    url = new_url()
    assert migrate(url) == migrate(url) == newest_revision()
    database = Database(url)
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        indexes = {index["name"] for name in METADATA.tables for index in inspect(connection).get_indexes(name)}
        if database.is_sqlite:
            modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
            assert modes == ["wal", 2]  # 2 = FULL
    database.close()
    restrictions = ("tenant", "model", "model_version", "tenant_model", "tenant_model_version")
    newest = {f"{table}_by_{columns}" for table in ("predictions", "labels") for columns in restrictions}
    assert indexes == newest | {"predictions_by_idempotency_key", "labels_not_counted"}


def test_migrations_and_code_create_the_same_columns_keys_and_indexes(new_url: Callable[[], str]) -> None:
    """Also compares what alembic does not: the order of columns, comments, defaults, and conditions of indexes."""
    by_migration, by_code = new_url(), new_url()
    migrate(by_migration)
    with closing(Database(by_code)) as database:
        database.create_file()
        METADATA.create_all(database.engine)
    assert _schema(by_migration) == _schema(by_code)


def _schema(url: str) -> dict[str, list[str]]:
    """Return each table's columns, in order, then its keys and indexes."""
    with closing(Database(url)) as database, database.transaction() as connection:
        found = inspect(connection)
        return {
            name: [
                *(str(column | {"type": str(column["type"])}) for column in found.get_columns(name)),
                str(found.get_pk_constraint(name)),
                str(found.get_foreign_keys(name)),
                *sorted(_shown(index) for index in found.get_indexes(name)),
            ]
            for name in METADATA.tables
        }


def _shown(index: Any) -> str:
    options = {name: str(option) for name, option in index.get("dialect_options", {}).items()}
    return f"{index['name']} {index['column_names']} {index['unique']} {options}"


def test_sqlite_stores_an_id_in_16_bytes(empty_ledger: Path, tmp_path: Path) -> None:
    record = make_record()
    with closing(Database(f"sqlite:///{shutil.copy(empty_ledger, tmp_path)}")) as database:
        insert(database, record)
        with database.transaction() as connection:
            stored = connection.exec_driver_sql("SELECT prediction_id FROM predictions").scalar_one()
            assert stored == uuid.UUID(record.prediction_id).bytes
            assert connection.scalar(select(predictions.c.prediction_id)) == record.prediction_id


def test_a_newer_schema_is_refused(new_url: Callable[[], str]) -> None:
    url = new_url()
    migrate(url)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(LedgerError, match=r"does not know the ledger's schema.*9999"):
        migrate(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////proc/no/ledger.sqlite3", "DATABASE_URL: .*/proc/no"),
        ("postgresql+psycopg://ledger:secret@127.0.0.1:1/ledger?connect_timeout=1", "DATABASE_URL: .*refused"),
    ],
)
def test_a_database_that_is_not_there(url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message) as caught:
        migrate(url)
    assert "secret" not in str(caught.value)
