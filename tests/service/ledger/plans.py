"""The statements that the ledger sends, how the database runs them, and how many rows they read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event

from uq4ct.service.ledger.database import Database

_READS = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b")
_SETTINGS = re.compile(r"SELECT (set_config|pg_)")
# What retention and the sequential tests have not counted yet is the whole of this index.
_SCAN = re.compile(r"SCAN (predictions|labels|sequential_tests)\b(?! USING (COVERING )?INDEX labels_not_counted)")
_READ = re.compile(r"(SEARCH|SCAN) (predictions|labels|sequential_tests)\b")
_OPERATIONS = 20  # of SQLite's virtual machine between two calls of a progress handler


@dataclass
class Sent:
    """Statements with their parameters, without those that only insert."""

    statements: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def sent(database: Database) -> Iterator[Sent]:
    """Collect what the block sends to the database."""
    found = Sent()

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if _READS.match(statement) and not _SETTINGS.match(statement):
            found.statements.append((statement, parameters[0] if many else parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def sqlite_faults(database: Database, statement: str, parameters: Any) -> list[str]:
    """Return the steps of SQLite's plan that read a whole table, or sort what they read of one."""
    with database.transaction() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    siblings: dict[int, list[str]] = {}
    for _, parent, _, step in steps:
        siblings.setdefault(parent, []).append(step)
    return [
        step
        for together in siblings.values()
        for step in together
        if _SCAN.match(step)
        or (step.startswith("USE TEMP B-TREE") and any(_READ.match(other) for other in together))
        or "AUTOMATIC" in step
    ]


def sqlite_operations(database: Database, statement: str, parameters: Any) -> int:
    """Run a statement, undo it, and return how many operations SQLite's virtual machine needed."""
    calls = 0

    def count() -> int:
        nonlocal calls
        calls += 1
        return 0

    with database.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.set_progress_handler(count, _OPERATIONS)
        try:
            result = connection.exec_driver_sql(statement, parameters)
            if result.returns_rows:
                result.all()
        finally:
            driver.set_progress_handler(None, 0)
            connection.rollback()
    return calls * _OPERATIONS


def postgres_rows(database: Database, statement: str, parameters: Any) -> tuple[int, str]:
    """Run a statement in PostgreSQL, undo it, and return how many rows its plan read, and the plan."""
    with database.engine.connect() as connection:
        for setting in PLANNER:
            connection.exec_driver_sql(setting)
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
        (result,) = connection.exec_driver_sql(explain, parameters).one()
        connection.rollback()
    plan = result[0]["Plan"]
    return sum(_rows_read(node) for node in _nodes(plan)), "\n".join(_shown(plan))


PLANNER: Sequence[str] = ()


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _rows_read(node: dict[str, Any]) -> int:
    """Return the rows that a node read from a table or an index; PostgreSQL reports them per loop."""
    if "Relation Name" not in node and "Index Name" not in node:
        return 0
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return round(sum(node.get(name, 0) for name in names) * node["Actual Loops"])


def _shown(node: dict[str, Any], depth: int = 0) -> Iterator[str]:
    source = node.get("Index Name") or node.get("Relation Name") or ""
    yield f"{'  ' * depth}{node['Node Type']} {source} read {_rows_read(node)}, expected {node['Plan Rows']}"
    for child in node.get("Plans", []):
        yield from _shown(child, depth + 1)
