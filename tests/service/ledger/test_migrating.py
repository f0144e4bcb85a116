"""The schema: made once however many replicas start, the same in code and migrations, and never downgraded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from tests.service.ledger.conftest import PostgresServer, insert, make_record
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerError
from uq4ct.service.ledger.migrating import _upgrade, migrate
from uq4ct.service.ledger.queries import find_prediction
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
            assert said == ["up\n" if url == "up" else "0003\n"] * REPLICAS
    finally:
        outputs = [replica.communicate() for replica in replicas]
    assert [replica.returncode for replica in replicas] == [0] * REPLICAS, outputs


def test_migrations_make_the_tables_of_the_code(new_url: Callable[[], str]) -> None:
    url = new_url()
    assert migrate(url) == migrate(url) == "0003"
    database = Database(url)
    with database.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        indexes = {index["name"] for index in inspect(connection).get_indexes("predictions")}
        if database.is_sqlite:
            modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
            assert modes == ["wal", 2]  # 2 = FULL
    database.close()
    assert indexes == {"predictions_of_tenant", "predictions_by_idempotency_key"}


def test_what_an_older_schema_holds_stays_and_has_no_error_score(new_url: Callable[[], str]) -> None:
    url = new_url()
    database, old, new = Database(url), make_record(), make_record(error_score=2.5)
    database.make_room()
    _upgrade(database, "0002")
    row = {name: value for name, value in old.to_row().items() if name != "error_score"}
    with database.transaction() as connection:
        connection.execute(predictions.insert().values(row))
    assert migrate(url) == "0003"
    insert(database, new)
    found = [find_prediction(database, one.prediction_id) for one in (old, new)]
    database.close()
    assert [None if stored is None else stored.record for stored in found] == [old, new]


def test_a_newer_schema_is_refused(new_url: Callable[[], str]) -> None:
    url = new_url()
    migrate(url)
    database = Database(url)
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(LedgerError, match=r"not known to this version.*9999"):
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
