"""The rows of a study on disk: one JSON line per finished or failed cell; kill -9 loses at most one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from uq4ct.model_store.base.identity import DtypeName
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.frozen import Frozen, complaints
from uq4ct.model_store.full_disk import naming_full_disk
from uq4ct.model_store.regular_files import read_regular, reason_of
from uq4ct.model_store.storage.manifest import Scores
from uq4ct.model_store.strict_json import JsonError, parse_json
from uq4ct.training.run_config import CalibrationName
from uq4ct.training.study.config import Cell, CellKey

ROWS_FILE = "rows.jsonl"


class RowsError(UserError, ValueError):
    """A file of rows that cannot be read; the message names file and line."""


class SplitScores(Frozen):
    """The scores of one split under one calibration."""

    split: str = Field(description="test, or the name of a shift set")
    calibration: CalibrationName
    scores: Scores
    predictions: str = Field(description="file of the answers, relative to the study's folder")


class _CellRow(Frozen):
    data_set: str
    label: str
    method: str
    seed: int
    digest: str = Field(description="digest of the cell's run and calibrations")
    code_commit: str | None

    @property
    def key(self) -> CellKey:
        """The row's position in its study."""
        return CellKey(self.data_set, self.label, self.seed)


class FinishedRow(_CellRow):
    """The results of a cell."""

    status: Literal["finished"] = "finished"
    dtype: DtypeName = Field(description="compute dtype of the frozen base")
    train_seconds: float = Field(ge=0, description="seconds in training steps and fits, including those of shared runs")
    trained_parameters: int = Field(ge=0, description="parameters of all runs that the method needs")
    passes: int = Field(ge=1, description="forward passes per answer")
    scoring_seconds: float = Field(ge=0, description="seconds per question, scored in batches")
    scored: tuple[SplitScores, ...] = Field(min_length=1)


class FailedRow(_CellRow):
    """Why a cell failed; it is retried when the study runs again."""

    status: Literal["failed"] = "failed"
    message: str


Row = Annotated[FinishedRow | FailedRow, Field(discriminator="status")]
_ROW: TypeAdapter[FinishedRow | FailedRow] = TypeAdapter(Row)


class RowFile:
    """The rows of a study's folder, in the order in which they were written."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROWS_FILE

    def read(self) -> list[FinishedRow | FailedRow]:
        """Return every complete line; an incomplete last line, cut off when the process died, is ignored.

        Raises:
            RowsError: the file cannot be read, or a complete line is not a row.
        """
        try:
            *lines, _torn = read_regular(self._path).split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RowsError(f"{self._path}: cannot be read: {reason_of(error)}") from error
        return [self._parse(number, line) for number, line in enumerate(lines, start=1)]

    def append(self, row: FinishedRow | FailedRow) -> None:
        """Append a row in one write and flush it to disk; an incomplete last line is removed first."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with naming_full_disk(self._path), self._path.open("ab+") as file:
            file.truncate(self._whole_bytes())
            file.write(row.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _whole_bytes(self) -> int:
        return self._path.read_bytes().rfind(b"\n") + 1

    def _parse(self, number: int, line: bytes) -> FinishedRow | FailedRow:
        try:
            return _ROW.validate_json(json.dumps(parse_json(line)), strict=True)
        except JsonError as error:
            raise RowsError(f"{self._path}, line {number}: {error}") from error
        except ValidationError as error:
            raise RowsError(f"{self._path}, line {number}: {'; '.join(complaints(error))}") from error


def latest_rows(
    rows: Iterable[FinishedRow | FailedRow], cells: Iterable[Cell]
) -> dict[CellKey, FinishedRow | FailedRow]:
    """Return the last row of each cell that has the cell's digest; rows of an older configuration are ignored."""
    by_digest = {(row.key, row.digest): row for row in rows}
    return {cell.key: by_digest[cell.key, cell.digest] for cell in cells if (cell.key, cell.digest) in by_digest}
