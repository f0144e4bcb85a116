"""Shared by the sources of local files: assigning files to splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from uq4ct.model_store.question_files import FileQuestions, QuestionFileError, describe_left_out
from uq4ct.model_store.questions import Question
from uq4ct.training.data.config import CsvData, JsonlData, TableData
from uq4ct.training.data.paths import expand_path, explain_variables
from uq4ct.training.data.source import SourceSplits
from uq4ct.training.data.splits import carve_calibration, carve_test


def read_splits(config: JsonlData | CsvData | TableData, read: Callable[[Path], FileQuestions]) -> SourceSplits:
    """Return the splits of the configured files, read by `read`; missing ones are carved out of train."""
    messages: list[str] = []

    def questions_of(text: str) -> Sequence[Question]:
        path = expand_path(text)
        try:
            found = read(path)
        except QuestionFileError as error:
            if path.exists():
                raise
            raise QuestionFileError(f"{error}{explain_variables(text)}") from error
        messages.extend(describe_left_out(str(path), found.left_out, len(found.questions) + len(found.left_out)))
        return found.questions

    train = questions_of(config.train)
    if config.test is None:
        train, test = carve_test(train, config.carved_test_share)
        messages.append(f"{len(test)} of {len(train) + len(test)} questions of {config.train} are the test split")
    else:
        test = questions_of(config.test)
    if config.calibration is None:
        train, calibration = carve_calibration(train, config.carved_share)
    else:
        calibration = questions_of(config.calibration)
    shift = {name: questions_of(path) for name, path in config.shift.items()}
    return SourceSplits(train, calibration, test, shift, tuple(messages))
