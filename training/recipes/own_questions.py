"""A recipe for a user's question files, with settings that suit the number of questions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.model_store.question_files import FileQuestions, read_questions
from uq4ct.training.data.csv_file import read_csv
from uq4ct.training.data.source import DataError
from uq4ct.training.run_config import ConfigError, RunConfig, parse_run_config

QUESTION_PASSES = 1500  # questions times epochs; takes minutes on the embedded base model and 2 cores
MOST_EPOCHS = 5
FEW_QUESTIONS = 400  # below this, more questions are kept for calibration and batches are smaller
_SOURCES: dict[str, tuple[str, Callable[[Path], FileQuestions], str]] = {
    ".csv": ("csv", read_csv, "column `answer` is the number of the right option, counted from 1"),
    ".jsonl": ("jsonl", read_questions, "field `answer` is the index of the right option, counted from 0"),
    ".ndjson": ("jsonl", read_questions, "field `answer` is the index of the right option, counted from 0"),
}
# The simplest adapter and loss first, in the sizes of the shipped recipes.
_ADAPTERS = (
    {"experts": 1, "top_k": 1, "rank": 64, "alpha": 128},
    {"experts": 8, "top_k": 2, "rank": 8, "alpha": 16},
)
_CALIBRATION_LOSSES = (0.0, 1.0)
_SNAPSHOTS = (0, 6)


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A question file that has been read: its format, its size and a summary in one line."""

    path: Path
    source: str
    questions: int
    summary: str


def read_own_file(path: Path) -> OwnFile:
    """Read a question file in the format that its suffix names.

    Raises:
        DataError: the suffix is unknown, or a question has no answer.
        QuestionFileError: the file cannot be read, or a line is not a question; the message names file and line.
    """
    if path.suffix.lower() not in _SOURCES:
        raise DataError(f"{path}: the name must end in {', '.join(_SOURCES)}, not {path.suffix or 'nothing'!r}")
    source, read, answers = _SOURCES[path.suffix.lower()]
    found = read(path)
    if not found.questions:
        raise DataError(f"{path}: contains no questions")
    unlabelled = [question.id for question in found.questions if question.answer is None]
    if unlabelled:
        raise DataError(f"{path}: {len(unlabelled)} questions have no answer, the first is {unlabelled[0]!r}")
    counts = [len(question.options) for question in found.questions]
    options = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    left_out = f"; {len(found.left_out)} left out because an option occurs twice" if found.left_out else ""
    summary = f"{path}: {len(counts)} questions with {options} options{left_out}; {answers}"
    return OwnFile(path, source, len(counts), summary)


def recipe_for(files: Mapping[str, OwnFile], *, name: str, method: str, base: str, folder: Path) -> RunConfig:
    """Return a recipe for `train` and, if given, `calibration` and `test`; missing splits are carved out of train.

    Relative paths become relative to `folder`, where the recipe will be written. The adapter is the simplest one that
    the method can be trained with.

    Raises:
        ConfigError: the files have different formats, or the name or the method is not valid.
    """
    train = files["train"]
    if len({file.source for file in files.values()}) > 1:
        formats = ", ".join(f"{file.path} is {file.source}" for file in files.values())
        raise ConfigError(f"the files of a recipe must have the same format: {formats}")
    few = train.questions < FEW_QUESTIONS
    data: dict[str, Any] = {part: _relative_to(folder, file.path) for part, file in files.items()}
    if "calibration" not in files:
        data["calibration_share"] = 0.3 if few else 0.2
    if "test" not in files:
        data["test_share"] = 0.2
    epochs = min(MOST_EPOCHS, max(1, round(QUESTION_PASSES / train.questions)))
    record = {
        "name": name,
        "method": method,
        "base": {"name": base},
        "data": {"source": train.source, **data},
        "training": {"epochs": epochs, "batch_questions": 8 if few else 16},
    }
    return _first_valid(record, base)


def _first_valid(record: dict[str, Any], base: str) -> RunConfig:
    """Return the first adapter, loss and number of snapshots with which the method can be trained."""
    refused: ConfigError | None = None
    for change in _variants(record, base):
        try:
            config = parse_run_config(record | change, "recipe")
        except ConfigError as error:
            refused = refused or error
        else:
            options = config.method_options().model_dump(mode="json")
            return config.model_copy(update={"options": options})
    assert refused is not None  # there is at least one variant
    raise refused


def _variants(record: dict[str, Any], base: str) -> Iterator[dict[str, Any]]:
    for adapter, calibration, snapshots in product(_ADAPTERS, _CALIBRATION_LOSSES, _SNAPSHOTS):
        routed = adapter["experts"] > 1
        small = base == EMBEDDED  # learns at higher rates than models of billions of parameters
        rate = (1e-3 if routed else 5e-4) if small else 2e-4
        yield {
            "adapter": adapter,
            "loss": {"calibration": calibration},
            "optimizer": {"learning_rate": rate},
            "training": record["training"] | {"snapshots": snapshots},
        }


def _relative_to(folder: Path, path: Path) -> str:
    return str(path) if path.is_absolute() else os.path.relpath(path, folder)
