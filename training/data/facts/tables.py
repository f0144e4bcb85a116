"""The tables of facts: one TSV file per table, one entity per row.

The first column is the entity. A cell may contain several values, separated by `|`; all of them are then true. An empty
cell is a fact left out (disputed or unclear): nothing is asked about it. The column `avoid` contains values that are
never offered as wrong options for this row, because a careful reader could defend them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

AVOID = "avoid"


class FactsTableError(ValueError):
    """A table that cannot be read; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entity with the true values of each column."""

    entity: str
    cells: Mapping[str, tuple[str, ...]]
    avoid: frozenset[str]


@cache
def read_table(name: str) -> tuple[Row, ...]:
    """Return the rows of the table `name`.tsv beside this file.

    Raises:
        FactsTableError: the file is missing or empty, or a line has the wrong number of cells.
    """
    resource = files("uq4ct.training.data.facts") / f"{name}.tsv"
    if not resource.is_file():
        raise FactsTableError(f"{name}.tsv: no such table of facts")
    return parse_table(name, resource.read_text(encoding="utf-8"))


def parse_table(name: str, text: str) -> tuple[Row, ...]:
    """Return the rows of a table given as tab-separated text with a header line.

    Raises:
        FactsTableError: there are no rows, or a line has the wrong number of cells, no entity, or stray blanks.
    """
    header, *lines = text.splitlines() or [""]
    columns = header.split("\t")
    if len(set(columns)) != len(columns) or not lines:
        raise FactsTableError(f"{name}.tsv, line 1: {header!r} is not a header, or no rows follow it")
    return tuple(_parse_row(f"{name}.tsv, line {number}", columns, line) for number, line in enumerate(lines, start=2))


def _parse_row(place: str, columns: list[str], line: str) -> Row:
    cells = line.split("\t")
    if len(cells) != len(columns):
        raise FactsTableError(f"{place}: {len(cells)} cells for {len(columns)} columns: {line!r}")
    values = {column: _parse_cell(place, cell) for column, cell in zip(columns, cells, strict=True)}
    if len(values[columns[0]]) != 1:
        raise FactsTableError(f"{place}: the first cell must name one entity, not {cells[0]!r}")
    return Row(entity=cells[0], cells=values, avoid=frozenset(values.pop(AVOID, ())))


def _parse_cell(place: str, cell: str) -> tuple[str, ...]:
    if not cell:
        return ()
    values = tuple(cell.split("|"))
    if any(not value or value != " ".join(value.split()) for value in values) or len(set(values)) != len(values):
        raise FactsTableError(f"{place}: {cell!r} contains an empty, unevenly spaced or repeated value")
    return values
