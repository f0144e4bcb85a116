"""Files of JSON lines: the one reader of questions, and of other records that are kept line by line."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.lookalikes import looks_of
from uq4ct.model_store.question_table import QuestionTable, pack_questions
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.regular_files import describe_not_utf8, open_regular, reason_of
from uq4ct.model_store.strict_json import JsonError, parse_json

MESSAGE_PLACES = 3


class QuestionFileError(UserError, ValueError):
    """A file of questions or answers that cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class FileQuestions:
    """The questions of one file, and the places of those left out because an option occurs twice."""

    questions: QuestionTable
    left_out: tuple[str, ...]


def read_questions(path: Path) -> FileQuestions:
    """Return the questions of a file of JSON lines, without those with a repeated option.

    Raises:
        QuestionFileError: the file cannot be read, or a line is not a question.
    """
    left_out: list[str] = []

    def questions() -> Iterator[Question]:
        for number, record in read_records(path):
            try:
                question = Question.from_record(record)
            except QuestionError as error:
                if not repeats_option(error, record.get("options")):
                    raise QuestionFileError(f"{path}, line {number}: {error}") from error
                left_out.append(f"line {number}")
            else:
                yield question

    table = pack_questions(questions())
    return FileQuestions(table, tuple(left_out))


def read_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line that is not blank as a JSON object, with its number counted from 1.

    Raises:
        QuestionFileError: the file cannot be read, or a line is not a JSON object.
    """
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, _parse(f"{path}, line {number}", line)


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file as UTF-8 text, with or without a byte order mark.

    Raises:
        QuestionFileError: the file is missing, cannot be read, is no regular file or is not UTF-8.
    """
    try:
        with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as stream:
            yield stream
    except OSError as error:
        raise QuestionFileError(f"{path}: cannot be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        with open_regular(path) as lines:
            raise QuestionFileError(f"{path}: cannot be read: {describe_not_utf8(lines)}") from error


def repeats_option(error: QuestionError, options: Any) -> bool:
    """Return whether the question was rejected because one of its options (all texts) looks like another."""
    if not error.field.startswith("options.") or not all(isinstance(option, str) for option in options):
        return False
    return len({looks_of(option) for option in options}) < len(options)


def describe_left_out(split: str, refused: Sequence[str], total: int) -> tuple[str, ...]:
    """Return one sentence about the questions left out of a split; empty if there are none."""
    if not refused:
        return ()
    named = ", ".join(refused[:MESSAGE_PLACES]) + (", ..." if len(refused) > MESSAGE_PLACES else "")
    return (f"{len(refused)} of {total} questions left out of {split} because an option occurs twice: {named}",)


def _parse(place: str, line: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except JsonError as error:
        raise QuestionFileError(f"{place}: invalid JSON: {error}") from error
    if not isinstance(record, dict):
        raise QuestionFileError(f"{place}: must be a JSON object, not {type(record).__name__}")
    return record
