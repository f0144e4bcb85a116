"""The finished rows of a study with their answers, ready for tables and charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from uq4ct.model_store.storage.manifest import Scores
from uq4ct.training.evaluation.predictions import read_predictions
from uq4ct.training.evaluation.scores import ScoredAnswers, score_answers
from uq4ct.training.study.config import CellKey, Study
from uq4ct.training.study.rows import FailedRow, FinishedRow, RowFile, latest_rows


@dataclass(frozen=True, slots=True)
class Variant:
    """A method with a calibration: the label of the one and the name of the other."""

    label: str
    calibration: str

    def __str__(self) -> str:
        return self.label if self.calibration == "none" else f"{self.label} + {self.calibration}"


@dataclass(frozen=True, slots=True)
class SplitRun:
    """One seed of a variant on one split: stored scores, answers and their total entropy [Q] in nats."""

    seed: int
    scores: Scores
    scored: ScoredAnswers
    entropy: Tensor


@dataclass(frozen=True, slots=True)
class SplitResults:
    """The answers of all variants on one split of one data set, in the order of the study."""

    data_set: str
    split: str
    variants: dict[Variant, tuple[SplitRun, ...]]

    @property
    def title(self) -> str:
        """The split in words."""
        return f"{self.data_set}, test split" if self.split == "test" else f"{self.data_set} to {self.split} (shift)"


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a report shows."""

    study: Study
    folder: Path
    finished: dict[CellKey, FinishedRow]
    failed: dict[CellKey, FailedRow]

    @property
    def missing(self) -> list[CellKey]:
        """Cells that have not run yet."""
        return [cell.key for cell in self.study.cells if cell.key not in self.finished and cell.key not in self.failed]

    def splits(self) -> Iterator[SplitResults]:
        """Yield each data set's test split and its shift sets, read from the prediction files one at a time."""
        for data_set in self.study.config.data_sets:
            rows = [row for key, row in self.finished.items() if key.data_set == data_set]
            names = dict.fromkeys(item.split for row in rows for item in row.scored)
            for split in names:
                yield SplitResults(data_set, split, self._variants(rows, split))

    def _variants(self, rows: Sequence[FinishedRow], split: str) -> dict[Variant, tuple[SplitRun, ...]]:
        found: dict[Variant, list[SplitRun]] = {
            Variant(label, calibration): []
            for label in self.study.config.methods
            for calibration in self.study.config.calibrations
        }
        for row in rows:
            for item in row.scored:
                if item.split == split:
                    run = _read_run(row.seed, item.scores, self.folder / item.predictions)
                    found[Variant(row.label, item.calibration)].append(run)
        return {variant: tuple(runs) for variant, runs in found.items() if runs}


def read_results(study: Study, folder: Path) -> Results:
    """Read the rows of a study's folder that belong to its current configuration.

    Raises:
        RowsError: a line of the rows is damaged.
    """
    rows = latest_rows(RowFile(folder).read(), study.cells)
    return Results(
        study,
        folder,
        finished={key: row for key, row in rows.items() if isinstance(row, FinishedRow)},
        failed={key: row for key, row in rows.items() if isinstance(row, FailedRow)},
    )


def common_seeds(
    ours: Sequence[SplitRun], theirs: Sequence[SplitRun]
) -> tuple[list[ScoredAnswers], list[ScoredAnswers]]:
    """Return the answers of the seeds that both have, paired."""
    their_runs = {run.seed: run.scored for run in theirs}
    pairs = [(run.scored, their_runs[run.seed]) for run in ours if run.seed in their_runs]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _read_run(seed: int, scores: Scores, path: Path) -> SplitRun:
    questions, answers = read_predictions(path)
    entropy = torch.tensor([answer.total for answer in answers], dtype=torch.float64)
    return SplitRun(seed, scores, score_answers(answers, questions), entropy)
