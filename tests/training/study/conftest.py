"""A study of simulated methods, with rows and predictions on disk as a real study writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.answers import make_answer
from tests.training.study.simulated import OPTIONS, simulate_answers
from uq4ct.model_store.answers import Answer
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import Scores
from uq4ct.training.evaluation.predictions import write_predictions
from uq4ct.training.evaluation.scores import compute_scores, score_answers
from uq4ct.training.run_config import CalibrationName
from uq4ct.training.study.config import Cell, Study, load_study
from uq4ct.training.study.results import Results, read_results
from uq4ct.training.study.rows import FailedRow, FinishedRow, RowFile, SplitScores

SHARPNESS = {"lora": 2.0, "ensemble": 1.2, "uq4ct": 1.6}
QUIZ = [Question(f"q{i}", f"Question {i}?", tuple("abcd"), answer=i % OPTIONS) for i in range(120)]


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Study]:
    """Make a study of three labels, two seeds and one data set; top-level fields can be overridden."""

    def make(**changes: Any) -> Study:
        record: dict[str, Any] = {
            "name": "imaginary",
            "loss": {"calibration": 0},
            "seeds": [0, 1],
            "baseline": "lora",
            "data_sets": {"quiz": {"data": {"source": "facts"}}},
            "methods": {
                "lora": {"method": "lora", "adapter": {"experts": 1, "top_k": 1}},
                "ensemble": {"method": "lora", "adapter": {"experts": 1, "top_k": 1, "rank": 8}},
                "uq4ct": {"method": "uq4ct", "loss": {"calibration": 1.0}},
            },
        }
        path = tmp_path / "imaginary.yaml"
        path.write_text(yaml.safe_dump(record | changes, sort_keys=False))
        return load_study(path)

    return make


@pytest.fixture
def make_results(make_study: Callable[..., Study], tmp_path: Path) -> Callable[..., Results]:
    """Make the results of that study, in which all rows except those of the failed labels are finished."""

    def make(failed: Mapping[str, str] = {}, **changes: Any) -> Results:
        study = make_study(**changes)
        folder = tmp_path / "study"
        for cell in study.cells:
            if cell.key.label in failed:
                RowFile(folder).append(FailedRow(**_place(cell), message=failed[cell.key.label]))
            else:
                RowFile(folder).append(_finish(cell, folder))
        return read_results(study, folder)

    return make


def _place(cell: Cell) -> dict[str, Any]:
    return {**cell.key._asdict(), "method": cell.config.method, "digest": cell.digest, "code_commit": "0123abc"}


def _finish(cell: Cell, folder: Path) -> FinishedRow:
    scored = []
    tempered: dict[CalibrationName, float] = {"none": 1.0, "temperature": 0.6}
    for place, split in enumerate(("test", "history")):
        for calibration, factor in tempered.items():
            sharpness = SHARPNESS[cell.key.label] * factor + place
            file = f"predictions/{cell.key.label}-{cell.key.seed}/{split}-{calibration}.jsonl"
            scores = _write(folder / file, cell, 10 * cell.key.seed + place, sharpness)
            scored.append(SplitScores(split=split, calibration=calibration, scores=scores, predictions=file))
    return FinishedRow(
        **_place(cell),
        dtype="float32",
        train_seconds=10.0 * (1 + 4 * (cell.key.label == "ensemble")),
        trained_parameters=1000,
        passes=5 if cell.key.label == "ensemble" else 1,
        scoring_seconds=0.02,
        scored=tuple(scored),
    )


def _write(path: Path, cell: Cell, seed: int, sharpness: float) -> Scores:
    answers = _answers(cell.key.label, seed, sharpness)
    write_predictions(path, QUIZ, answers)
    return _scores(cell.key.label, seed, sharpness)


@cache
def _scores(label: str, seed: int, sharpness: float) -> Scores:
    return compute_scores(score_answers(_answers(label, seed, sharpness), QUIZ))


def _answers(label: str, seed: int, sharpness: float) -> list[Answer]:
    """One pass for LoRA, samples for the ensemble, routers for UQ4CT."""
    drawn = simulate_answers(len(QUIZ), seed=100 * seed + len(label), sharpness=sharpness)
    total = torch.special.entr(drawn.probabilities).sum(dim=-1)
    epistemic = total * (0.4 - 0.25 * drawn.correct.double()) * torch.linspace(0.5, 1, len(total), dtype=torch.float64)
    answers = []
    for index, row in enumerate(drawn.probabilities.tolist()):
        answer = make_answer(row, feu=0.3 + 0.5 * max(row) if label == "uq4ct" else None)
        if label == "ensemble":
            parts = epistemic[index].item()
            answer = replace(answer, aleatoric=answer.total - parts, epistemic=parts)
        answers.append(answer)
    return answers
