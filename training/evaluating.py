"""What `evaluate` does: a run, a stored adapter or an untrained base model on one split of its recipe's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from model_store.posteriors.point import PointPosterior
from model_store.predictor import Predictor, predictor_on_base
from model_store.questions import Question
from model_store.storage.manifest import Scores, TemperatureCalibration
from model_store.storage.registry import Registry
from training.calibration import fit_calibration, sample_split
from training.data.loading import load_splits
from training.data.splits import Splits
from training.evaluation import answers_of, compute_scores, score_answers
from training.figures import reliability_diagram
from training.predictions import write_predictions
from training.run_config import ConfigError, RunConfig, parse_run_config
from training.runs import load_base_of, load_run, load_run_splits, new_candidate


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to evaluate: its raw predictor, the data it belongs to, and its temperature if it has one by now."""

    title: str
    predictor: Predictor
    config: RunConfig
    splits: Splits
    temperature: float | None


def candidate_of_run(folder: Path, *, device: str | None, dtype: str | None) -> Candidate:
    """A finished run; its temperature is fitted anew."""
    run = load_run(folder, device=device, dtype=dtype)
    predictor = Predictor(run.model, PointPosterior(), 1.0)
    return Candidate(run.config.name, predictor, run.config, load_run_splits(run), None)


def candidate_of_store(registry: Registry, reference: str, *, device: str | None, dtype: str | None) -> Candidate:
    """A stored adapter with its stored temperature."""
    stored = registry.load(reference)
    config = parse_run_config(dict(stored.manifest.provenance.recipe), f"recipe of {stored.manifest.reference}")
    base = load_base_of(config, device=device, dtype=dtype)
    predictor = predictor_on_base(stored, base).predictor
    calibration = stored.manifest.calibration
    temperature = calibration.value if isinstance(calibration, TemperatureCalibration) else 1.0
    splits, _ = load_splits(config.data)
    return Candidate(stored.manifest.reference, predictor, config, splits, temperature)


def candidate_untrained(config: RunConfig, *, device: str | None, dtype: str | None) -> Candidate:
    """A recipe's base model before any training."""
    base = load_base_of(config, device=device, dtype=dtype)
    predictor = Predictor(new_candidate(config, base), PointPosterior(), 1.0)
    splits, _ = load_splits(config.data)
    return Candidate(f"{config.name}, untrained", predictor, config, splits, None)


def evaluate(
    candidate: Candidate, split: str, output: Path, console: Console, *, batch_tokens: int | None = None
) -> Mapping[str, Scores]:
    """Score a candidate before and after its temperature, and leave predictions and diagrams in `output`.

    Raises:
        ConfigError: the data have no such split.
        QuestionTooLongError: a question is longer than the limit.
    """
    questions = questions_of(candidate.splits, split)
    budget = batch_tokens or candidate.config.training.evaluation_batch_tokens
    temperature = candidate.temperature
    if temperature is None:
        fit = sample_split(candidate.predictor, candidate.splits.fit, budget, console, "fit split")
        temperature = fit_calibration(fit, candidate.splits.fit).value
    samples = sample_split(candidate.predictor, questions, budget, console, f"{split} split")
    scores = {}
    for name, value in {"raw": 1.0, "calibrated": temperature}.items():
        answers = answers_of(samples, questions, value)
        scored = score_answers(answers, questions)
        scores[name] = compute_scores(scored)
        write_predictions(output / f"{split}-{name}.jsonl", questions, answers)
        diagram = reliability_diagram(scored, f"{candidate.title}, {split} split, temperature {value:.3f}")
        (output / f"{split}-{name}.png").write_bytes(diagram)
        (output / f"{split}-{name}.json").write_text(scores[name].model_dump_json(indent=2))
    return {"before temperature": scores["raw"], f"after temperature {temperature:.3f}": scores["calibrated"]}


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
