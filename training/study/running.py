"""Run the cells of a study: train each needed run once, score it on every split, continue after a failure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.full_disk import DiskFullError
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.questions import Question
from uq4ct.training.console import say
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.evaluation.calibration_fitting import fit_calibration, warn_if_weak
from uq4ct.training.evaluation.predictions import write_predictions
from uq4ct.training.evaluation.sampling import sample_split
from uq4ct.training.evaluation.scores import answers_of, compute_scores, score_answers
from uq4ct.training.run_config import CalibrationName
from uq4ct.training.runs.load import TrainedRun, load_run, load_run_splits
from uq4ct.training.runs.provenance import code_commit
from uq4ct.training.runs.train import train_in_pool
from uq4ct.training.study.config import Cell, Study, select_cells
from uq4ct.training.study.rows import FailedRow, FinishedRow, RowFile, SplitScores, latest_rows

RUNS_FOLDER = "runs"
PREDICTIONS_FOLDER = "predictions"


class StudyError(UserError, RuntimeError):
    """A study in which rows failed; the message names them."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """The scores of a cell with their prediction files, and the seconds per question."""

    splits: tuple[SplitScores, ...]
    seconds: float


def run_study(study: Study, folder: Path, console: Console, only: tuple[str, ...] = ()) -> list[FailedRow]:
    """Run every cell that has no finished row yet, append its row, and return the rows that failed.

    Training runs are stored in `runs` and shared between methods; answers are stored in `predictions`.

    Raises:
        ConfigError: `only` has a label that is not in the study.
        DataError, QuestionFileError: questions cannot be read; this is checked before anything is trained.
        RowsError: a line of the rows is damaged.
    """
    rows = RowFile(folder)
    cells = select_cells(study, only)
    done = latest_rows(rows.read(), cells)
    waiting = [cell for cell in cells if not isinstance(done.get(cell.key), FinishedRow)]
    for data in {cell.config.data.model_dump_json(): cell.config.data for cell in waiting}.values():
        load_splits(data)
    failed: list[FailedRow] = []
    with _progress(console) as bar:
        task = bar.add_task("study", total=len(cells), completed=len(cells) - len(waiting))
        for number, cell in enumerate(waiting, start=len(cells) - len(waiting) + 1):
            console.rule(f"{number} of {len(cells)}: {cell.key}", characters="-")
            row = _attempt(cell, study.config.calibrations, folder, console)
            rows.append(row)
            failed += [row] if isinstance(row, FailedRow) else []
            say(console, describe_row(row))
            bar.advance(task)
    return failed


def describe_finished(study: Study, folder: Path) -> str:
    """Return how many rows a study that has ended early has finished, and how to go on."""
    rows = latest_rows(RowFile(folder).read(), study.cells).values()
    finished = sum(isinstance(row, FinishedRow) for row in rows)
    of_all = f"{finished} of {len(study.cells)}"
    return f"{of_all} rows are finished and kept in {folder}: run the same command again to continue"


def run_cell(cell: Cell, calibrations: Sequence[CalibrationName], folder: Path, console: Console) -> FinishedRow:
    """Train a cell's run, or take it from the pool, and score it on every split under every calibration."""
    run = load_run(train_in_pool(cell.config, folder / RUNS_FOLDER, console))
    scored = _score(cell, run, calibrations, folder, console)
    return FinishedRow(
        **cell.key._asdict(),
        method=cell.config.method,
        digest=cell.digest,
        code_commit=code_commit(),
        dtype=run.result.dtype,
        train_seconds=run.result.seconds + run.result.fit_seconds,
        trained_parameters=run.result.trained_parameters,
        passes=run.result.posterior.passes,
        scoring_seconds=scored.seconds,
        scored=scored.splits,
    )


def describe_row(row: FinishedRow | FailedRow) -> str:
    """Return the main figures of a row in one line: its first split under each calibration."""
    if isinstance(row, FailedRow):
        return f"{row.key}: FAILED, {row.message}"
    first = [item for item in row.scored if item.split == row.scored[0].split]
    figures = [
        f"{item.calibration}: accuracy {item.scores.accuracy:.3f}, ECE {item.scores.ece:.3f} "
        f"(floor {item.scores.ece_noise_floor:.3f}), NLL {item.scores.nll:.3f}"
        for item in first
    ]
    return f"{row.key}: {'; '.join(figures)}; {row.train_seconds:.0f} s of training"


def _attempt(
    cell: Cell, calibrations: Sequence[CalibrationName], folder: Path, console: Console
) -> FinishedRow | FailedRow:
    try:
        return run_cell(cell, calibrations, folder, console)
    except DiskFullError:  # nothing more can be written, not even the row
        raise
    except Exception as error:  # no error may end a study of days: the row and the exit code report it
        console.print_exception()
        return FailedRow(
            **cell.key._asdict(),
            method=cell.config.method,
            digest=cell.digest,
            code_commit=code_commit(),
            message=f"{type(error).__name__}: {error}",
        )


def _score(
    cell: Cell, run: TrainedRun, calibrations: Sequence[CalibrationName], folder: Path, console: Console
) -> _Scored:
    splits = load_run_splits(run)
    predictor = run.predictor()
    budget = cell.config.training.evaluation_batch_tokens
    fit = sample_split(predictor, splits.fit, budget, console, "fit split")
    fitted = _fit_calibrations(calibrations, fit, splits.fit)
    for calibration in fitted.values():
        warn_if_weak(calibration, console)
    place = Path(PREDICTIONS_FOLDER) / cell.key.data_set / cell.key.label / f"{cell.key.seed}-{cell.digest[:16]}"
    scored: list[SplitScores] = []
    seconds, asked = 0.0, 0
    for name, questions in _reported(splits).items():
        started = time.perf_counter()
        samples = sample_split(predictor, questions, budget, console, name)
        seconds, asked = seconds + time.perf_counter() - started, asked + len(questions)
        scored += _score_split(name, samples, questions, fitted, folder, place)
    return _Scored(tuple(scored), seconds / asked)


def _score_split(
    name: str,
    samples: CandidateSamples,
    questions: Sequence[Question],
    fitted: Mapping[CalibrationName, Calibration],
    folder: Path,
    place: Path,
) -> list[SplitScores]:
    found = []
    for calibration, record in fitted.items():
        answers = answers_of(samples, questions, record)
        file = place / f"{name}-{calibration}.jsonl"
        write_predictions(folder / file, questions, answers)
        scores = compute_scores(score_answers(answers, questions))
        found.append(SplitScores(split=name, calibration=calibration, scores=scores, predictions=file.as_posix()))
    return found


def _fit_calibrations(
    names: Sequence[CalibrationName], samples: CandidateSamples, questions: Sequence[Question]
) -> dict[CalibrationName, Calibration]:
    """Fit the calibrations that apply: a temperature by FEU needs routers."""
    routed = samples.feu is not None
    return {name: fit_calibration(name, samples, questions) for name in names if name != "feu_temperature" or routed}


def _reported(splits: Splits) -> dict[str, Sequence[Question]]:
    return {"test": splits.test, **splits.shift}


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]study"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
