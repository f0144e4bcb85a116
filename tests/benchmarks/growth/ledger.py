"""Rows 3 and 4: what reads of a growing ledger cost, whatever they are restricted to, and what a write costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.benchmarks.growth.curves import Curve, median_seconds
from tests.service.ledger.conftest import insert, make_record
from tests.service.ledger.filled import FIRST_MS, STEP_MS, fill
from tests.service.ledger.postgres import postgres_server
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.queries import Window, count_cohorts, scored_predictions

ROWS = (10_000, 100_000, 300_000, 1_000_000)
_PIECE = 50_000
_HOUR = 3_600_000  # ms; 90,000 rows
RESTRICTED = {  # to a tenant, a name and a version
    "all versions": (None, None, None),
    "one version": (None, "toy", 2),
    "one tenant": ("a", None, None),
    "rare version": (None, "toy", 3),
    "rare tenant": ("rare", None, None),
}


def measure(folder: Path) -> list[Curve]:
    """Return the seconds of an hour's window at every number of rows, and of a write, on both databases."""
    curves = _curves("SQLite", f"sqlite:///{folder}/ledger.sqlite3")
    with postgres_server() as server:
        return curves + _curves("PostgreSQL", server.new_database())


def _curves(name: str, url: str) -> list[Curve]:
    migrate(url)
    points: dict[str, list[tuple[float, float]]] = {}
    with closing(Database(url)) as database:
        filled = 0
        for rows in ROWS:
            while filled < rows:
                last = min(filled + _PIECE, rows)
                fill(database, filled, last - 1, rows)
                filled = last
            for figure, seconds in _figures(database, rows):
                points.setdefault(figure, []).append((rows, seconds))
    return [Curve("3, 4", f"{name}: {figure}", "rows", found) for figure, found in points.items()]


def _figures(database: Database, rows: int) -> Iterator[tuple[str, float]]:
    end = FIRST_MS + rows * STEP_MS
    for name, restricted in RESTRICTED.items():
        window = Window(end - _HOUR, end, *restricted)
        yield f"{name}, s", median_seconds(lambda window=window: _read(database, window))
    yield (
        "1,000 predictions written, s",
        median_seconds(lambda: insert(database, *(make_record() for _ in range(1000)))),
    )


def _read(database: Database, window: Window) -> None:
    count_cohorts(database, window)
    scored_predictions(database, window)


def _write(database: Database) -> None:
    insert(database, *(make_record() for _ in range(1000)))
