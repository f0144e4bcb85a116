"""Questions from JSONL files: one object a line with the keys id, question, options, answer, context, subject."""

from __future__ import annotations

import json
from pathlib import Path

from model_store.questions import Question, QuestionError
from training.data.config import JsonlData
from training.data.files import open_text, read_splits
from training.data.source import DataError, SourceSplits


def load(config: JsonlData) -> SourceSplits:
    """The splits of the configured files.

    Raises:
        DataError: a file is missing, or a line is no question; file and line are named.
    """
    return read_splits(config, read_jsonl)


def read_jsonl(path: Path) -> tuple[Question, ...]:
    """The questions of one file; empty lines are skipped.

    Raises:
        DataError: the file is missing, or a line is no question; file and line are named.
    """
    with open_text(path) as lines:
        return tuple(
            _parse(f"{path}, line {number}", line) for number, line in enumerate(lines, start=1) if line.strip()
        )


def _parse(place: str, line: str) -> Question:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: no valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: must be a JSON object, not {type(record).__name__}")
    try:
        return Question.from_record(record)
    except QuestionError as error:
        raise DataError(f"{place}: {error}") from error
