"""Questions of any public data set on the hub, read through a mapping of columns."""

from __future__ import annotations

from functools import partial

from uq4ct.model_store.question_table import QuestionTable
from uq4ct.training.data.columns import question_from_row
from uq4ct.training.data.config import HubTable, HubTableData
from uq4ct.training.data.hub import LoadRows, describe_refused, load_from_hub, read_split
from uq4ct.training.data.source import SourceSplits
from uq4ct.training.data.splits import carve_calibration, carve_test


def load(config: HubTableData, load_rows: LoadRows | None = None) -> SourceSplits:
    """Return the splits of a public data set; rows that are not valid questions are left out and reported.

    Raises:
        DataError: the data set cannot be read, or lacks a column that the mapping names.
    """
    read_rows = load_rows or load_from_hub
    messages: list[str] = []

    def read(table: HubTable, split: str) -> QuestionTable:
        rows = read_rows(table.dataset, table.config, split, table.revision)
        found = read_split(f"{table.dataset}-{split}", rows, partial(question_from_row, table.columns))
        messages.extend(describe_refused(table.dataset, split, found.left_out))
        return found.questions

    train = read(config, config.split)
    if config.test_split is None:
        train, test = carve_test(train, config.carved_test_share)
        messages.append(f"{len(test)} of {len(train) + len(test)} questions of {config.dataset} are the test split")
    else:
        test = read(config, config.test_split)
    if config.calibration_split is None:
        train, calibration = carve_calibration(train, config.carved_share)
    else:
        calibration = read(config, config.calibration_split)
    shift = {name: read(table, table.split) for name, table in config.shift.items()}
    return SourceSplits(train, calibration, test, shift, tuple(messages))
