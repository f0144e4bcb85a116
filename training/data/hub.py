"""Questions of public data sets, read with the `datasets` library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import cast

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


class _SplitReader:
    """Reads splits and records the rows that it leaves out."""

    def __init__(self, load_rows: LoadRows) -> None:
        self.load_rows = load_rows
        self.messages: list[str] = []

    def __call__(self, dataset: str, split: str, revision: str) -> QuestionTable:
        refused: list[str] = []
        questions = pack_questions(self._questions(dataset, split, revision, refused))
        if refused:
            self.messages.append(
                f"{dataset}, {split}: {len(refused)} rows are not valid questions and were left out, "
                f"such as {', '.join(refused[:MESSAGE_IDS])}"
            )
        return questions

    def _questions(self, dataset: str, split: str, revision: str, refused: list[str]) -> Iterator[Question]:
        """Yield the valid questions; the others are added to `refused`."""
        source = HUB_SETS[dataset]
        for number, row in enumerate(self._rows(source, split, revision)):
            identifier = f"{dataset}-{split}-{number}"
            try:
                question = source.convert(identifier, row)
            except QuestionError as error:
                refused.append(f"{identifier} ({error})")
            except KeyError as error:
                raise DataError(f"{identifier}: the row has no column {error}, it has {sorted(row)}") from error
            else:
                yield question

    def _rows(self, source: HubSetSource, split: str, revision: str) -> Iterable[Row]:
        for name in source.names:
            yield from self.load_rows(source.path, name, split, revision)
