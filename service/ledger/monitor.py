"""Run the sequential tests on the ledger's labels; across replicas, each label is counted once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, exists, insert, select, text, update

from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.sequential import TESTS, RunningTest, Wealth, allowed_error_rate
from uq4ct.service.ledger.tables import labels, predictions, sequential_tests
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

ROUND = 1000  # labels of one transaction
_POSTGRES_LOCK = 0x75713463740002  # id of the advisory lock that the counting replica holds
_WEALTH = ("labels", "log_stake", "deviations", "squares")

ErrorBound = Callable[[str, int], float | None]

logger = logging.getLogger(__name__)


class Monitor:
    """Advances the tests and exports their state as metrics; `run_round` is for one thread."""

    def __init__(self, database: Database, adapters: Registry, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._adapters = adapters
        self._settings = settings
        self._metrics = metrics

    def run_round(self) -> bool:
        """Count new labels in one transaction; return whether there may be more.

        Raises:
            LedgerUnavailableError: the database failed; no label is counted.
        """
        counted = count_labels(self._database, self._settings.sequential_alpha, self._error_bound)
        for test in read_tests(self._database):
            alarms = test.alarmed_ms is not None
            self._metrics.show_sequential(test.model, test.version, test.test, test.wealth.log_evidence, alarms)
        return counted == ROUND

    def _error_bound(self, model: str, version: int) -> float | None:
        """Return the allowed error rate, from the calibration split in the manifest; None without a manifest."""
        try:
            reference = self._adapters.manifest(f"{model}@{version}").reference_histograms
        except (StoreError, OSError):
            return None
        errors = reference.questions - round(reference.accuracy * reference.questions)
        settings = self._settings
        return allowed_error_rate(errors, reference.questions, settings.error_rate_margin, settings.sequential_alpha)


def count_labels(database: Database, alpha: float, error_bound: ErrorBound, limit: int = ROUND) -> int:
    """Advance the tests of every version by the labels not counted yet, oldest first; return the number of labels.

    Each label has its own mark, set in the transaction that counts it. A cursor over time or ids would skip a label
    that commits after a younger one, which is common with several replicas; with marks, such a label is counted late.
    The tests are valid in any order that does not depend on future labels. Only one replica counts at a time. Labels of
    all tenants count.

    Raises:
        LedgerUnavailableError: the database failed; no label is counted.
    """
    not_counted = labels.c.counted.is_(False)
    oldest = (
        select(
            predictions.c.model, predictions.c.version, predictions.c.confidence, labels.c.correct, labels.c.labelled_ms
        )
        .add_columns(labels.c.prediction_id)
        .select_from(labels.join(predictions))
        .where(not_counted)
        .order_by(labels.c.labelled_ms, labels.c.prediction_id)
        .limit(limit)
    )
    with database.transaction() as connection:
        if not connection.execute(select(exists().where(not_counted))).scalar() or not _take_turn(database, connection):
            return 0
        rows = connection.execute(oldest).mappings().all()
        for (model, version), of_version in groupby(sorted(rows, key=_version_of), key=_version_of):
            _advance(connection, model, version, list(of_version), alpha, error_bound)
        marks = update(labels).where(labels.c.prediction_id == bindparam("counted_id")).values(counted=True)
        if rows:
            connection.execute(marks, [{"counted_id": row["prediction_id"]} for row in rows])
    return len(rows)


def read_tests(database: Database) -> list[RunningTest]:
    """Return the current state of every test; raises LedgerUnavailableError."""
    with database.transaction() as connection:
        return _read(connection.execute(select(sequential_tests)).mappings())


def _take_turn(database: Database, connection: Connection) -> bool:
    """Try to take the lock for counting until the transaction ends; return whether it was taken."""
    if database.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # waits for another replica to finish
        return True
    return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK}))


def _advance(
    connection: Connection,
    model: str,
    version: int,
    rows: list[RowMapping],
    alpha: float,
    error_bound: ErrorBound,
) -> None:
    """Advance the tests of one version by its labels, in their order."""
    mine = (sequential_tests.c.model == model, sequential_tests.c.version == version)
    running = {test.test: test for test in _read(connection.execute(select(sequential_tests).where(*mine)).mappings())}
    for name in TESTS:
        if name not in running:
            bound = error_bound(model, version) if name == "error_rate" else None
            if name != "error_rate" or bound is not None:
                running[name] = RunningTest(model, version, name, bound, started_ms=rows[0]["labelled_ms"])
    for row in rows:
        for name, test in running.items():
            running[name] = test.after(row["confidence"], row["correct"], row["labelled_ms"], alpha)
    connection.execute(delete(sequential_tests).where(*mine))
    connection.execute(insert(sequential_tests), [_to_row(test) for test in running.values()])


def _read(rows: Iterable[RowMapping]) -> list[RunningTest]:
    return [_from_row(row) for row in rows]


def _from_row(row: Mapping[Any, Any]) -> RunningTest:
    columns = ("model", "version", "test", "bound", "started_ms", "alarmed_ms")
    return RunningTest(**{name: row[name] for name in columns}, wealth=Wealth(**{name: row[name] for name in _WEALTH}))


def _to_row(test: RunningTest) -> dict[str, Any]:
    row = asdict(test)
    return row | row.pop("wealth")


def _version_of(row: RowMapping) -> tuple[str, int]:
    return row["model"], row["version"]
