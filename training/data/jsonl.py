"""Questions from JSONL files: one object per line with the keys id, question, options, answer, context, subject."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.data.config import JsonlData
from uq4ct.training.data.files import FileQuestions, open_text, read_splits
from uq4ct.training.data.repeated_options import repeats_option
from uq4ct.training.data.source import DataError, SourceSplits


def load(config: JsonlData) -> SourceSplits:
    """Return the splits of the configured files.

    Raises:
        DataError: a file is missing, or a line is not a question; the message names file and line.
    """
    return read_splits(config, read_jsonl)


def read_jsonl(path: Path) -> FileQuestions:
    """Return the questions of one file, without those with a repeated option; empty lines are skipped.

    Raises:
        DataError: the file is missing, or a line is not a question; the message names file and line.
    """
    questions: list[Question] = []
    refused: list[str] = []
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            record = _parse(f"{path}, line {number}", line)
            try:
                questions.append(Question.from_record(record))
            except QuestionError as error:
                if not repeats_option(error, record.get("options")):
                    raise DataError(f"{path}, line {number}: {error}") from error
                refused.append(f"line {number}")
    return FileQuestions(tuple(questions), tuple(refused))


def write_jsonl(path: Path, questions: Sequence[Question]) -> None:
    """Write a file that `read_jsonl` reads, atomically; an existing file is replaced."""
    lines = (json.dumps(question.to_record(), ensure_ascii=False) + "\n" for question in questions)
    replace_file(path, "".join(lines).encode())


def _parse(place: str, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: invalid JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: must be a JSON object, not {type(record).__name__}")
    return record
