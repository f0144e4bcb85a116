"""Evaluate a model on one split of its data: scores, predictions and reliability diagrams."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.calibrations import Calibration, NoCalibration, TemperatureCalibration
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.model_store.storage.manifest import Scores
from uq4ct.training.evaluation.calibration_fitting import fit_calibration, warn_if_weak
from uq4ct.training.evaluation.evaluated import EvaluatedModel
from uq4ct.training.evaluation.predictions import write_predictions
from uq4ct.training.evaluation.reliability_diagram import reliability_png
from uq4ct.training.evaluation.sampling import sample_split
from uq4ct.training.evaluation.scores import answers_of, compute_scores, score_answers


def evaluate(
    model: EvaluatedModel, split: str, output: Path, console: Console, *, batch_tokens: int | None = None
) -> Mapping[str, Scores]:
    """Score a model before and after its calibration, and write predictions and diagrams to `output`.

    Raises:
        DataError: the data have no such split, or a question of it cannot be tokenised; see `sample_split`.
    """
    questions = model.splits.select(split)
    budget = batch_tokens or model.config.training.evaluation_batch_tokens
    calibration = model.calibration
    if calibration is None:
        fit = sample_split(model.predictor, model.splits.fit, budget, console, "fit split")
        calibration = fit_calibration(model.config.calibration, fit, model.splits.fit)
    warn_if_weak(calibration, console)
    samples = sample_split(model.predictor, questions, budget, console, f"{split} split")
    scores = {}
    applied: dict[str, Calibration] = {"raw": NoCalibration(), "calibrated": calibration}
    for name, value in applied.items():
        answers = answers_of(samples, questions, value)
        scored = score_answers(answers, questions)
        scores[name] = compute_scores(scored)
        write_predictions(output / f"{split}-{name}.jsonl", questions, answers)
        diagram = reliability_png(scored, f"{model.title}, {split} split, {describe(value)}")
        replace_file(output / f"{split}-{name}.png", diagram)
        replace_file(output / f"{split}-{name}.json", scores[name].model_dump_json(indent=2).encode())
    return {"before calibration": scores["raw"], f"after {describe(calibration)}": scores["calibrated"]}


def describe(calibration: Calibration) -> str:
    """Describe a calibration in a few words."""
    if isinstance(calibration, TemperatureCalibration):
        return f"temperature {calibration.value:.3f}"
    return "no calibration" if isinstance(calibration, NoCalibration) else calibration.kind
