"""Questions of public data sets, read with the `datasets` library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from uq4ct.model_store.question_files import FileQuestions
from uq4ct.model_store.question_table import QuestionTable, pack_questions
from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.training.data.config import HubData
from uq4ct.training.data.hub_sets import HUB_SETS, HubSetSource, Row
from uq4ct.training.data.source import DataError, SourceSplits
from uq4ct.training.data.splits import carve_calibration

MESSAGE_IDS = 3

# repository, configuration, split, revision -> rows
LoadRows = Callable[[str, str | None, str, str], Iterable[Row]]


def load(config: HubData, load_rows: LoadRows | None = None) -> SourceSplits:
    """Return the splits of a public data set; rows that are not valid questions are left out and reported.

    Raises:
        DataError: the data set cannot be read.
    """
    read = _SplitReader(load_rows or load_from_hub)
    source = HUB_SETS[config.dataset]
    train = read(config.dataset, source.train, config.revision)
    calibration_split, test_split = source.calibration_and_test(config.test)
    if calibration_split is None:
        train, calibration = carve_calibration(train, config.carved_share)
    else:
        calibration = read(config.dataset, calibration_split, config.revision)
    return SourceSplits(
        train=train,
        calibration=calibration,
        test=read(config.dataset, test_split, config.revision),
        shift={
            shifted.dataset: read(
                shifted.dataset, HUB_SETS[shifted.dataset].calibration_and_test(shifted.test)[1], shifted.revision
            )
            for shifted in config.shift
        },
        messages=tuple(read.messages),
    )


def load_from_hub(path: str, name: str | None, split: str, revision: str) -> Iterable[Row]:
    """Return the rows of one split as published on the hub, from the local cache if it was read before.

    Raises:
        DataError: the hub cannot be reached or has no such data; the message says what to do instead.
    """
    try:
        from datasets import load_dataset  # noqa: PLC0415  slow to import, needed by this source only
    except ModuleNotFoundError as error:
        raise DataError("public data sets are read with the `datasets` library: install the extra `hub`") from error
    try:
        return cast(Iterable[Row], load_dataset(path, name, split=split, revision=revision))
    except Exception as error:  # the library raises many kinds of error, with the same remedy for all
        raise DataError(
            f"{path}, {name or 'default'}, {split} at {revision} cannot be read from the hub "
            f"({type(error).__name__}: {error}). Without a connection, export the data set to JSONL on a machine that "
            f"has one and use `source: jsonl` with the paths of the files"
        ) from error


def read_split(name: str, rows: Iterable[Row], convert: Callable[[str, Row], Question]) -> FileQuestions:
    """Return the valid questions of the rows, and the others with what is wrong with them.

    Raises:
        DataError: a row lacks a column.
    """
    refused: list[str] = []

    def questions() -> Iterator[Question]:
        for number, row in enumerate(rows):
            identifier = f"{name}-{number}"
            try:
                question = convert(identifier, row)
            except QuestionError as error:
                refused.append(f"{identifier} ({error})")
            except KeyError as error:
                raise DataError(f"{identifier}: the row has no column {error}, it has {sorted(row)}") from error
            else:
                yield question

    return FileQuestions(pack_questions(questions()), tuple(refused))


def describe_refused(dataset: str, split: str, refused: Sequence[str]) -> tuple[str, ...]:
    """Return one sentence about the rows of a split that were left out; empty if there are none."""
    if not refused:
        return ()
    named = ", ".join(refused[:MESSAGE_IDS])
    return (f"{dataset}, {split}: {len(refused)} rows are not valid questions and were left out, such as {named}",)


class _SplitReader:
    """Reads splits and records the rows that it leaves out."""

    def __init__(self, load_rows: LoadRows) -> None:
        self.load_rows = load_rows
        self.messages: list[str] = []

    def __call__(self, dataset: str, split: str, revision: str) -> QuestionTable:
        source = HUB_SETS[dataset]
        found = read_split(f"{dataset}-{split}", self._rows(source, split, revision), source.convert)
        self.messages += describe_refused(dataset, split, found.left_out)
        return found.questions

    def _rows(self, source: HubSetSource, split: str, revision: str) -> Iterable[Row]:
        for name in source.names:
            yield from self.load_rows(source.path, name, split, revision)
