"""No statement of the ledger reads a whole table, however many rows it has and however rare what it looks for is."""

from __future__ import annotations

from contextlib import closing
from itertools import islice, product

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from tests.service.ledger.conftest import make_record
from tests.service.ledger.filled import FIRST_MS, STEP_MS, fill
from tests.service.ledger.plans import Sent, postgres_rows, sent, sqlite_faults, sqlite_operations
from tests.service.ledger.postgres import PostgresServer
from uq4ct.service.ledger import listing, queries
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.export import export_lines
from uq4ct.service.ledger.feedback import Feedback, store_label
from uq4ct.service.ledger.listing import Filters, list_predictions
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.monitor import count_labels, read_tests
from uq4ct.service.ledger.probing import probe_write
from uq4ct.service.ledger.queries import (
    Window,
    count_cohorts,
    count_intervals,
    find_by_idempotency_key,
    find_prediction,
    insert_once,
    scored_predictions,
)
from uq4ct.service.ledger.retention import accept_clock, delete_step
from uq4ct.service.telemetry.metrics import Metrics

ROWS = 100_000
DAY_MS = 86_400_000
COUNTED, SCORED = 1000, 100  # so that a ledger of ROWS rows is large
MOST_ROWS = 2200  # of one statement: an export reads 1000 predictions and their labels
MOST_OPERATIONS = 150_000  # of one statement; to look at ROWS rows takes at least 400,000

VERSIONS = [(None, None), ("toy", None), ("toy", 1), ("toy", 2), ("toy", 3), ("odd", None), ("odd", 2), ("toy", 9)]
TENANTS = [None, "a", "rare", "nobody"]


def windows(rows: int) -> list[Window]:
    """Return windows over the whole ledger and over a part of it, for every kind of restriction."""
    end = FIRST_MS + rows * STEP_MS
    times = [(0, end), (end - rows // 10 * STEP_MS, end), (FIRST_MS, FIRST_MS + rows // 4 * STEP_MS)]
    return [Window(*span, tenant, *of) for span, tenant, of in product(times, TENANTS, VERSIONS)]


def use(database: Database, rows: int) -> None:
    """Run everything that the ledger can be asked for."""
    for window in windows(rows):
        count_cohorts(database, window)
        scored_predictions(database, window)
        read_tests(database, window.tenant)
        count_intervals(database, window, DAY_MS)
        for filters in (Filters(), Filters(task="other", confidence_from=0.9), Filters(labelled=True, correct=False)):
            page = list_predictions(database, window, filters, 50, None)
            if page.next is not None:
                list_predictions(database, window, filters, 50, page.next)
    insert_once(database, record := make_record(idempotency_key="key"))
    find_by_idempotency_key(database, record.tenant, "key")
    find_prediction(database, record.prediction_id, None)
    find_prediction(database, record.prediction_id, record.tenant)
    for _ in range(2):
        store_label(database, Metrics(CollectorRegistry()), record, Feedback(record.prediction_id, 1, None), 1)
    count_labels(database, 0.05, lambda model, version: 0.3)
    list(islice(export_lines(database), 1500))
    accept_clock(database, record.created_ms)
    delete_step(database, FIRST_MS + 600 * STEP_MS)
    probe_write(database)


def statements(database: Database, rows: int, monkeypatch: pytest.MonkeyPatch) -> list[Sent]:
    """Return what every use of a ledger sends."""
    monkeypatch.setattr(queries, "COUNTED", COUNTED)
    monkeypatch.setattr(queries, "SCORED", SCORED)
    monkeypatch.setattr(listing, "MOST_READ", COUNTED)
    with sent(database) as found:
        use(database, rows)
    assert len({one.statement for one in found}) > 20
    return found


@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("analyzed", [False, True])
def test_sqlite_searches_an_index_for_every_statement(
    database: Database, monkeypatch: pytest.MonkeyPatch, backend: str, analyzed: bool
) -> None:
    fill(database, 0, 1999, 2000)
    if analyzed:
        analyze(database)
    faults = {
        one.statement: found
        for one in statements(database, 2000, monkeypatch)
        if (found := sqlite_faults(database, one))
    }
    assert faults == {}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"])
@pytest.mark.parametrize("statistics", ["never", "stale", "fresh"])
def test_sqlite_reads_no_more_of_many_rows(
    database: Database, monkeypatch: pytest.MonkeyPatch, backend: str, statistics: str
) -> None:
    fill_and_analyze(database, statistics)
    costly = {
        (one.statement, str(one.parameters)): operations
        for one in statements(database, ROWS, monkeypatch)
        if (operations := sqlite_operations(database, one)) > MOST_OPERATIONS
    }
    assert costly == {}


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["never", "stale", "fresh"])
def test_postgres_reads_no_more_of_many_rows(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, statistics: str
) -> None:
    url = postgres.new_database()
    migrate(url)
    with closing(Database(url)) as database:
        with database.transaction() as connection:
            for table in ("predictions", "labels"):
                connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))
        fill_and_analyze(database, statistics)
        costly = {
            (one.statement, str(one.parameters), generic): plan
            for one in statements(database, ROWS, monkeypatch)
            for generic in (False, True)
            for rows, plan in [postgres_rows(database, one, generic=generic)]
            if rows > MOST_ROWS
        }
    assert costly == {}


def fill_and_analyze(database: Database, statistics: str) -> None:
    """Fill the ledger; `stale` statistics are those of its older half, which has no row of the younger version."""
    fill(database, 0, ROWS // 2 - 1, ROWS)
    if statistics == "stale":
        analyze(database)
    fill(database, ROWS // 2, ROWS - 1, ROWS)
    if statistics == "fresh":
        analyze(database)


def analyze(database: Database) -> None:
    """Let the database collect its statistics."""
    with database.transaction() as connection:
        connection.execute(text("ANALYZE"))
