"""What `evaluate` does: a run, a stored adapter or an untrained base model on one split of its recipe's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.calibrations import Calibration, NoCalibration, TemperatureCalibration
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.published import predictor_on_base
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import Scores
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.splits import Splits
from uq4ct.training.evaluation.calibration import fit_calibration, sample_split
from uq4ct.training.evaluation.predictions import write_predictions
from uq4ct.training.evaluation.reliability_diagram import reliability_diagram
from uq4ct.training.evaluation.scores import answers_of, compute_scores, score_answers
from uq4ct.training.run_config import ConfigError, RunConfig, parse_run_config
from uq4ct.training.runs.candidates import load_base_of, new_candidate
from uq4ct.training.runs.runs import load_run, load_run_splits, load_same_splits


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to evaluate: its raw predictor, the data it belongs to, and its calibration if it has one by now."""

    title: str
    predictor: Predictor
    config: RunConfig
    splits: Splits
    calibration: Calibration | None


def candidate_of_run(folder: Path, *, device: str | None, dtype: str | None) -> Candidate:
    """A finished run; its calibration is fitted anew."""
    run = load_run(folder, device=device, dtype=dtype)
    predictor = Predictor(run.model, run.result.posterior.build(run.tensors))
    return Candidate(run.config.name, predictor, run.config, load_run_splits(run), None)


def candidate_of_store(registry: Registry, reference: str, *, device: str | None, dtype: str | None) -> Candidate:
    """A stored adapter with its stored calibration; RunError if its data have changed since it was trained."""
    stored = registry.load(reference)
    config = parse_run_config(dict(stored.manifest.provenance.recipe), f"recipe of {stored.manifest.reference}")
    base = load_base_of(config, device=device, dtype=dtype)
    predictor = predictor_on_base(stored, base).predictor
    splits = load_same_splits(config, stored.manifest.provenance.data_digest)
    return Candidate(stored.manifest.reference, predictor, config, splits, stored.manifest.calibration)


def candidate_untrained(config: RunConfig, *, device: str | None, dtype: str | None) -> Candidate:
    """A recipe's base model before any training."""
    base = load_base_of(config, device=device, dtype=dtype)
    predictor = Predictor(new_candidate(config, base), PointPosterior())
    splits, _ = load_splits(config.data)
    return Candidate(f"{config.name}, untrained", predictor, config, splits, None)


def evaluate(
    candidate: Candidate, split: str, output: Path, console: Console, *, batch_tokens: int | None = None
) -> Mapping[str, Scores]:
    """Score a candidate before and after its calibration, and leave predictions and diagrams in `output`.

    Raises:
        ConfigError: the data have no such split.
        QuestionTooLongError: a question is longer than the limit.
    """
    questions = questions_of(candidate.splits, split)
    budget = batch_tokens or candidate.config.training.evaluation_batch_tokens
    calibration = candidate.calibration
    if calibration is None:
        fit = sample_split(candidate.predictor, candidate.splits.fit, budget, console, "fit split")
        calibration = fit_calibration(candidate.config.calibration, fit, candidate.splits.fit)
    samples = sample_split(candidate.predictor, questions, budget, console, f"{split} split")
    scores = {}
    applied: dict[str, Calibration] = {"raw": NoCalibration(), "calibrated": calibration}
    for name, value in applied.items():
        answers = answers_of(samples, questions, value)
        scored = score_answers(answers, questions)
        scores[name] = compute_scores(scored)
        write_predictions(output / f"{split}-{name}.jsonl", questions, answers)
        diagram = reliability_diagram(scored, f"{candidate.title}, {split} split, {describe(value)}")
        (output / f"{split}-{name}.png").write_bytes(diagram)
        (output / f"{split}-{name}.json").write_text(scores[name].model_dump_json(indent=2))
    return {"before calibration": scores["raw"], f"after {describe(calibration)}": scores["calibrated"]}


def describe(calibration: Calibration) -> str:
    """A calibration in a few words."""
    if isinstance(calibration, TemperatureCalibration):
        return f"temperature {calibration.value:.3f}"
    return "no calibration" if isinstance(calibration, NoCalibration) else calibration.kind


def questions_of(splits: Splits, name: str) -> Sequence[Question]:
    """The questions of a split by its name, or of a shift set by its own; ConfigError if there are none."""
    named = {
        "train": splits.train,
        "fit": splits.fit,
        "guarantee": splits.guarantee,
        "test": splits.test,
        **splits.shift,
    }
    if not named.get(name):
        present = ", ".join(key for key, questions in named.items() if questions)
        raise ConfigError(f"split {name!r} is empty or unknown; there are {present}")
    return named[name]
