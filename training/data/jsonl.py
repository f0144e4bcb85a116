"""Questions from JSONL files: one object per line with the keys id, question, options, answer, context, subject."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from uq4ct.model_store.question_files import read_questions
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.data.config import JsonlData
from uq4ct.training.data.files import read_splits
from uq4ct.training.data.source import SourceSplits


def load(config: JsonlData) -> SourceSplits:
    """Return the splits of the configured files.

    Raises:
        QuestionFileError: a file is missing, or a line is not a question; the message names file and line.
    """
    return read_splits(config, read_questions)


def write_jsonl(path: Path, questions: Sequence[Question]) -> None:
    """Write a file that `read_questions` reads, atomically; an existing file is replaced."""
    lines = (json.dumps(question.to_record(), ensure_ascii=False) + "\n" for question in questions)
    replace_file(path, "".join(lines).encode())
