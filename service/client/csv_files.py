"""Questions in a CSV file, answered into another one."""

from __future__ import annotations

import csv
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from uq4ct.service.client.bodies import Item, read_shared
from uq4ct.service.client.chunks import CHUNK
from uq4ct.service.client.concurrency import Progress
from uq4ct.service.client.csv_output import CsvOutput
from uq4ct.service.client.errors import InvalidArgumentError, error_of_item
from uq4ct.service.client.records import Prediction, Problem
from uq4ct.service.client.rows import Row, check_columns, fill_row, name_columns, read_row

PathLike = str | os.PathLike[str]

_KEY = "idempotency_key"
_OF_THE_ROW = (413, 422, 500)  # statuses that may be the fault of one question; others would be those of every row


@dataclass(frozen=True, slots=True)
class CsvReport:
    """Numbers of rows of an output: all, those that were in it before, and those with an error."""

    rows: int
    kept: int
    errors: int


class CsvQuestions:
    """The questions of a CSV file that have no row in the output yet.

    Args:
        source: the file, with a header.
        output: gets each row of `source` and its answer, in order.
        question: the column of the questions.
        options: the columns of the options, or one column that holds JSON lists.
        prefix: begins the names of the new columns.
        shared: the fields that all questions share.
        progress: is called with the number of rows in the output and of all rows.

    Raises:
        InvalidArgumentError: an argument or a file is invalid, or the output was made from another input or with other
            arguments; the message names it.
    """

    def __init__(
        self,
        source: PathLike,
        output: PathLike,
        question: str,
        options: str | Sequence[str],
        prefix: str,
        shared: Mapping[str, object],
        progress: Progress,
    ) -> None:
        self._source, self._target = _read_path("source", source), _read_path("output", output)
        if self._source.resolve() == self._target.resolve():
            raise InvalidArgumentError(f"output: must be another file than source (got {output!s})")
        self._total = sum(1 for _ in read_csv(self._source)) - 1
        self._rows = read_csv(self._source)
        self._header = next(self._rows, [])
        check_columns(self._header, question, options)
        self._question, self._options, self._shared = question, options, read_shared(shared)
        self._names = name_columns("source", prefix, self._header, [_KEY])
        self._progress = progress
        self._pending: deque[list[tuple[list[str], Row]]] = deque()
        self._kept = self._written = self._errors = 0

    def __enter__(self) -> Self:
        self._output = CsvOutput(self._target, [*self._header, *self._names])
        try:
            self._skip_kept()
            self._output.start()
        except BaseException:
            self._output.close()
            raise
        self._progress(self._written, self._total)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()

    @property
    def report(self) -> CsvReport:
        """What the output holds so far."""
        return CsvReport(self._written, self._kept, self._errors)

    def chunks(self) -> Iterator[list[Item]]:
        """Yield what to ask, chunk by chunk."""
        while chunk := [(cells, self._read(cells)) for cells in islice(self._rows, CHUNK)]:
            self._pending.append(chunk)
            yield [row.item for _, row in chunk if row.item is not None]

    def write(self, results: Sequence[Prediction | Problem]) -> None:
        """Write the rows of the next chunk with its results; raises ServiceError for a problem that is not of a row."""
        answers = iter(results)
        for cells, row in self._pending.popleft():
            result = None if row.item is None else next(answers)
            if isinstance(result, Problem) and result.status not in _OF_THE_ROW:
                raise error_of_item(result)
            *values, error = fill_row(row, result)
            self._output.write([*cells, *map(_show, values), _show(error), _key_of(row)])
            self._errors += error is not None
            self._written += 1
        self._progress(self._written, self._total)

    def _read(self, cells: Sequence[str]) -> Row:
        named = dict(zip(self._header, cells, strict=True))
        options: Any = (
            _read_list(named[self._options])
            if isinstance(self._options, str)
            else [named[one] or None for one in self._options]
        )
        return read_row(named[self._question] or None, options, self._shared)

    def _skip_kept(self) -> None:
        for cells in self._output.kept_rows():
            self._kept += 1
            row = next(self._rows, None)
            if row is None or cells[: len(row)] != row or cells[-1] != _key_of(self._read(row)):
                raise InvalidArgumentError(
                    f"output: row {self._kept} of {self._target} was not made from row {self._kept} of {self._source} "
                    "with these arguments; choose another file"
                )
            self._errors += cells[-2] != ""
        self._written = self._kept


def read_csv(path: Path) -> Iterator[list[str]]:
    """Yield the header of a CSV file and each row.

    Raises:
        InvalidArgumentError: it cannot be read, or a row has another number of cells than the header.
    """
    width = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in filter(None, reader):
                width = width or len(cells)
                if len(cells) != width:
                    raise InvalidArgumentError(
                        f"source: {path} line {reader.line_num}: {len(cells)} cells, but the header has {width}"
                    )
                yield cells
    except OSError as error:
        raise InvalidArgumentError(f"source: {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"source: {path} is no CSV file in UTF-8: {error}") from error
    if width is None:
        raise InvalidArgumentError(f"source: {path} has no header")


def _read_path(name: str, path: PathLike) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise InvalidArgumentError(f"{name}: must be a path (got {path!r})")
    return Path(path)


def _read_list(cell: str) -> object:
    try:
        return json.loads(cell) if cell else None
    except ValueError:
        return cell


def _show(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _key_of(row: Row) -> str:
    return "" if row.item is None or row.item.key is None else row.item.key
