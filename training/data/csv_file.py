"""Questions from CSV files.

The header names the columns `question`, `option_1`, `option_2`, ... and `answer`, and optionally `id`, `context` and
`subject`. `answer` is the number of the right option, counted from 1 like the columns. A question with fewer options
leaves the last option cells empty. A missing `id` is made of the file name and the line number.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from uq4ct.model_store.question_files import FileQuestions, QuestionFileError, open_text, repeats_option
from uq4ct.model_store.question_table import pack_questions
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.training.data.config import CsvData
from uq4ct.training.data.files import read_splits
from uq4ct.training.data.source import SourceSplits

_REQUIRED = ("question", "option_1", "option_2", "answer")
_OPTIONAL = ("id", "context", "subject")
_MOST_DIGITS = 9  # of an answer


def load(config: CsvData) -> SourceSplits:
    """Return the splits of the configured files.

    Raises:
        QuestionFileError: a file is missing, or a line is not a question; the message names file and line.
    """
    return read_splits(config, read_csv)


def read_csv(path: Path) -> FileQuestions:
    """Return the questions of one file, without those with a repeated option.

    Raises:
        QuestionFileError: the file is missing, its header lacks a column or has an unknown one, or a line is not a
            question; the message names file and line.
    """
    refused: list[str] = []
    table = pack_questions(_read_rows(path, refused))
    return FileQuestions(table, tuple(refused))


def _read_rows(path: Path, refused: list[str]) -> Iterator[Question]:
    """Yield the questions of one file; the lines of those with a repeated option are added to `refused`."""
    with open_text(path) as stream:
        reader = csv.DictReader(stream, strict=True)
        try:
            option_columns = _check_header(path, list(reader.fieldnames or ()))
            for row in reader:
                place = f"{path}, line {reader.line_num}"
                cells = _cells(place, row)
                options = _options(cells, option_columns)
                try:
                    question = _question(f"{path.stem}-{reader.line_num}", cells, options)
                except QuestionError as error:
                    if not repeats_option(error, options):
                        raise QuestionFileError(f"{place}: {error}") from error
                    refused.append(f"line {reader.line_num}")
                else:
                    yield question
        except csv.Error as error:  # the inner reader counts the line that failed, the outer one the last that did not
            raise QuestionFileError(f"{path}, line {reader.reader.line_num}: invalid CSV: {error}") from error


def _check_header(path: Path, columns: list[str]) -> list[str]:
    option_columns = [column for column in columns if column.startswith("option_")]
    for column in _REQUIRED:
        if column not in columns:
            raise QuestionFileError(f"{path}, line 1: the column {column} is missing from {columns}")
    if option_columns != [f"option_{number}" for number in range(1, len(option_columns) + 1)]:
        raise QuestionFileError(f"{path}, line 1: the option columns {option_columns} do not count up from option_1")
    unknown = sorted(set(columns) - {*_REQUIRED, *_OPTIONAL, *option_columns})
    if unknown or len(set(columns)) != len(columns):
        raise QuestionFileError(f"{path}, line 1: unknown or repeated columns in {unknown or columns}")
    return option_columns


def _cells(place: str, row: Mapping[Any, Any]) -> dict[str, str]:
    if None in row or None in row.values():
        raise QuestionFileError(f"{place}: the number of cells differs from the header's")
    return dict(row)


def _options(cells: Mapping[str, str], columns: list[str]) -> tuple[str, ...]:
    options = [cells[column] for column in columns]
    while options and not options[-1].strip():
        options.pop()
    return tuple(options)


def _question(identifier: str, cells: Mapping[str, str], options: tuple[str, ...]) -> Question:
    answer = cells["answer"].strip()
    if not (answer.isascii() and answer.isdecimal() and len(answer) <= _MOST_DIGITS) or int(answer) < 1:
        raise QuestionError("answer", f"must be the number of an option, counted from 1, not {cells['answer'][:80]!r}")
    return Question(
        id=cells.get("id") or identifier,
        text=cells["question"],
        options=options,
        context=cells.get("context") or None,
        answer=int(answer) - 1,
        subject=cells.get("subject") or None,
    )
