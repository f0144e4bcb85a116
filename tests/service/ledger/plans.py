"""The statements that the ledger sends, how the database runs them, and how many rows they read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from sqlalchemy import event

from uq4ct.service.ledger.database import Database

_READS = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b")
# What retention and the sequential tests have not counted yet is the whole of this index.
_SCAN = re.compile(r"SCAN (predictions|labels|sequential_tests)\b(?! USING (COVERING )?INDEX labels_not_counted)")
_READ = re.compile(r"(SEARCH|SCAN) (predictions|labels|sequential_tests)\b")
_PARAMETER = re.compile(r"%\((\w+)\)s")
_OPERATIONS = 20  # of SQLite's virtual machine between two calls of a progress handler


@dataclass(frozen=True)
class Sent:
    """A statement, and the settings that its transaction made before."""

    statement: str
    parameters: Any
    settings: tuple[str, ...]


@contextmanager
def sent(database: Database) -> Iterator[list[Sent]]:
    """Collect what the block sends to the database, without statements that only insert."""
    found: list[Sent] = []
    settings: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith("SET "):
            settings.append(statement)
        elif _READS.match(statement) and not statement.startswith("SELECT pg_"):
            found.append(Sent(statement, parameters[0] if many else parameters, tuple(settings)))

    def begin(_connection: Any) -> None:
        settings.clear()

    event.listen(database.engine, "before_cursor_execute", note)
    event.listen(database.engine, "begin", begin)
    try:
        yield found
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
        event.remove(database.engine, "begin", begin)


def sqlite_faults(database: Database, sent: Sent) -> list[str]:
    """Return the steps of SQLite's plan that read a whole table, or sort what they read of one."""
    with database.transaction() as connection:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent.statement}", sent.parameters).all()
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


def sqlite_operations(database: Database, sent: Sent) -> int:
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
            result = connection.exec_driver_sql(sent.statement, sent.parameters)
            if result.returns_rows:
                result.all()
        finally:
            driver.set_progress_handler(None, 0)
            connection.rollback()
    return calls * _OPERATIONS


def postgres_rows(database: Database, sent: Sent, *, generic: bool) -> tuple[int, str]:
    """Run a statement in PostgreSQL, undo it, and return how many rows its plan read, and the plan.

    A `generic` plan is made without the values: a connection may use one once it has sent a statement a few times.
    """
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    prepare = f"PREPARE probe AS {_PARAMETER.sub(number, sent.statement)}"
    values = ", ".join(sql.Literal(sent.parameters[name]).as_string() for name in names)
    mode = "force_generic_plan" if generic else "force_custom_plan"
    with database.engine.connect() as connection:
        for setting in (*sent.settings, f"SET LOCAL plan_cache_mode = {mode}"):
            connection.exec_driver_sql(setting)
        connection.exec_driver_sql(prepare)
        execute = f"EXECUTE probe ({values})" if names else "EXECUTE probe"
        (result,) = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {execute}").one()
        connection.exec_driver_sql("DEALLOCATE probe")
        connection.rollback()
    plan = result[0]["Plan"]
    return sum(_rows_read(node) for node in _nodes(plan)), "\n".join(_shown(plan))


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
