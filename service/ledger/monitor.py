"""Run the sequential tests on the ledger's labels; across replicas, each label is counted once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    bindparam,
    delete,
    insert,
    select,
    text,
    update,
)

from uq4ct.model_store.storage.errors import StoreError
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.sequential import TESTS, CountedLabel, RunningTest, Wealth, allowed_error_rate
from uq4ct.service.ledger.tables import OF_ALL_TENANTS, labels, sequential_tests
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.metrics import Metrics

ROUND = 1000  # labels of one transaction
_POSTGRES_LOCK = 0x75713463740002  # id of the advisory lock that the counting replica holds
_COUNTED_COLUMNS = ("prediction_id", "tenant", "model", "version", "confidence", "correct", "labelled_ms")
_FAMILY = (sequential_tests.c.tenant, sequential_tests.c.model, sequential_tests.c.version)
_WEALTH = ("labels", "log_stake", "deviations", "squares")

ErrorBound = Callable[[str, int], float | None]
_Family: TypeAlias = tuple[str | None, str, int]  # the tests of one tenant (None: over all) and one version

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
        for test in read_tests(self._database, None):
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
    """Advance the tests by the labels not counted yet, oldest first; return the number of labels.

    A label advances two families of tests of its version: those of its tenant, and those over all tenants.

    Each label has its own mark, set in the transaction that counts it. A cursor over time or ids would skip a label
    that commits after a younger one, which is common with several replicas; with marks, such a label is counted late.
    The tests are valid in any order that does not depend on future labels. Only one replica counts at a time.

    Raises:
        LedgerUnavailableError: the database failed; no label is counted.
    """
    not_counted = labels.c.counted.is_(False)
    oldest = (
        select(*(labels.c[name] for name in _COUNTED_COLUMNS))
        .where(not_counted)
        .order_by(labels.c.labelled_ms, labels.c.prediction_id)
        .limit(limit)
    )
    with database.transaction() as connection:
        database.use_indexes(connection)
        if connection.execute(oldest.limit(1)).first() is None or not _take_turn(database, connection):
            return 0
        rows = connection.execute(oldest).mappings().all()
        marks = update(labels).where(labels.c.prediction_id == bindparam("counted_id")).values(counted=True)
        if rows:
            _advance(connection, rows, alpha, error_bound)
            connection.execute(marks, [{"counted_id": row["prediction_id"]} for row in rows])
    return len(rows)


def read_tests(database: Database, tenant: str | None) -> list[RunningTest]:
    """Return the current tests of one tenant, or those over all tenants (None); raises LedgerUnavailableError."""
    with database.transaction() as connection:
        return _read(connection, sequential_tests.c.tenant == _column_of(tenant))


def _take_turn(database: Database, connection: Connection) -> bool:
    """Try to take the lock for counting until the transaction ends; return whether it was taken."""
    if database.is_sqlite:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # waits for another replica to finish
        return True
    return bool(connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK}))


def _advance(connection: Connection, rows: Sequence[RowMapping], alpha: float, error_bound: ErrorBound) -> None:
    """Advance the tests of every family by its labels, in their order."""
    bound_of = cache(error_bound)  # the families of a version share it
    advanced: list[RunningTest] = []
    for family, of_family in _by_family(rows).items():
        # One by one: for a list of families, SQLite would read the whole table.
        mine = and_(*(column == value for column, value in zip(_FAMILY, _key(family), strict=True)))
        tests = _started(_read(connection, mine), family, of_family[0].labelled_ms, bound_of)
        advanced += [test.after(of_family, alpha) for test in tests]
        connection.execute(delete(sequential_tests).where(mine))
    connection.execute(insert(sequential_tests), [_to_row(test) for test in advanced])


def _by_family(rows: Sequence[RowMapping]) -> dict[_Family, list[CountedLabel]]:
    counted: dict[_Family, list[CountedLabel]] = {}
    for row in rows:
        label = CountedLabel(row["confidence"], row["correct"], row["labelled_ms"])
        for tenant in (row["tenant"], None):
            counted.setdefault((tenant, row["model"], row["version"]), []).append(label)
    return counted


def _started(
    running: Sequence[RunningTest], family: _Family, now_ms: int, error_bound: ErrorBound
) -> list[RunningTest]:
    """Return the tests of a family, with those that can start now."""
    tenant, model, version = family
    tests = {test.test: test for test in running}
    for name in TESTS:
        if name not in tests:
            bound = error_bound(model, version) if name == "error_rate" else None
            if name != "error_rate" or bound is not None:
                tests[name] = RunningTest(tenant, model, version, name, bound, started_ms=now_ms)
    return list(tests.values())


def _read(connection: Connection, condition: ColumnElement[bool]) -> list[RunningTest]:
    rows = connection.execute(select(sequential_tests).where(condition)).mappings()
    return [_from_row(row) for row in rows]


def _from_row(row: Mapping[Any, Any]) -> RunningTest:
    columns = ("model", "version", "test", "bound", "started_ms", "alarmed_ms")
    tenant = None if row["tenant"] == OF_ALL_TENANTS else row["tenant"]
    wealth = Wealth(**{name: row[name] for name in _WEALTH})
    return RunningTest(tenant, **{name: row[name] for name in columns}, wealth=wealth)


def _to_row(test: RunningTest) -> dict[str, Any]:
    row = asdict(test)
    return row | row.pop("wealth") | {"tenant": _column_of(test.tenant)}


def _key(family: _Family) -> tuple[str, str, int]:
    tenant, model, version = family
    return _column_of(tenant), model, version


def _column_of(tenant: str | None) -> str:
    return OF_ALL_TENANTS if tenant is None else tenant
