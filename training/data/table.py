"""Questions from tables in any layout: Parquet, CSV and JSON lines, read through a mapping of columns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from uq4ct.model_store.question_files import (
    FileQuestions,
    QuestionFileError,
    open_text,
    read_records,
    repeats_option,
)
from uq4ct.model_store.question_table import pack_questions
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.regular_files import open_regular, reason_of
from uq4ct.training.data.columns import Columns, options_of_row, question_from_row
from uq4ct.training.data.config import TableData
from uq4ct.training.data.files import read_splits
from uq4ct.training.data.source import SourceSplits

Rows = Iterator[tuple[int, Mapping[str, Any]]]
_ROWS_AT_ONCE = 4096


def load(config: TableData) -> SourceSplits:
    """Return the splits of the configured files.

    Raises:
        QuestionFileError: a file is missing or of an unknown kind, or a row is not a question; the message names both.
    """
    return read_splits(config, lambda path: read_table(path, config.columns))


def read_table(path: Path, columns: Columns) -> FileQuestions:
    """Return the questions of one file, without those with a repeated option.

    Raises:
        QuestionFileError: as `load`.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise QuestionFileError(f"{path}: must be a file of the kind {', '.join(_READERS)}")
    left_out: list[str] = []

    def questions() -> Iterator[Question]:
        for number, row in read(path):
            try:
                question = question_from_row(columns, f"{path.stem}-{number}", row)
            except KeyError as error:
                raise QuestionFileError(
                    f"{path}, row {number}: column {error} is missing from {sorted(row)}"
                ) from error
            except QuestionError as error:
                if error.field == "options" or not repeats_option(error, options_of_row(columns, row)):
                    raise QuestionFileError(f"{path}, row {number}: {error}") from error
                left_out.append(f"row {number}")
            else:
                yield question

    return FileQuestions(pack_questions(questions()), tuple(left_out))


def _parquet_rows(path: Path) -> Rows:
    """Yield the rows of a Parquet file, counted from 1, a few thousand in memory at a time."""
    try:
        from pyarrow import ArrowException  # noqa: PLC0415  slow to import, needed by this kind alone
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise QuestionFileError(f"{path}: Parquet files are read with pyarrow: install the extra `hub`") from error
    try:
        with open_regular(path) as stream, ParquetFile(stream) as file:
            number = 0
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except OSError as error:
        raise QuestionFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except ArrowException as error:
        raise QuestionFileError(f"{path}: cannot be read: {' '.join(str(error).split())[:200]}") from error


def _csv_rows(path: Path) -> Rows:
    with open_text(path) as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            for number, row in enumerate(reader, start=1):
                if None in row or None in row.values():
                    raise QuestionFileError(f"{path}, row {number}: the number of cells differs from the header's")
                yield number, row
        except csv.Error as error:
            raise QuestionFileError(f"{path}, line {reader.reader.line_num}: invalid CSV: {error}") from error


_READERS: Mapping[str, Callable[[Path], Rows]] = {
    ".parquet": _parquet_rows,
    ".csv": _csv_rows,
    ".jsonl": read_records,
}
