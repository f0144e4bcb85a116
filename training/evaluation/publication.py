"""Publish a finished run to the model store: calibrated, scored, with everything needed to interpret it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.calibrations import NoCalibration
from uq4ct.model_store.posteriors.point import PointPosterior
from uq4ct.model_store.predictor import Predictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import (
    Manifest,
    ManifestDraft,
    Provenance,
)
from uq4ct.model_store.storage.manifest import Splits as SplitSizes
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.evaluation.calibration_fitting import check_strength, fit_calibration, warn_if_weak
from uq4ct.training.evaluation.decision_fitting import DEFAULT_TARGETS, DecisionTargets, fit_decisions
from uq4ct.training.evaluation.reliability_diagram import reliability_png
from uq4ct.training.evaluation.sampling import measure_batch_company, sample_split
from uq4ct.training.evaluation.scores import (
    ScoredAnswers,
    answers_of,
    compute_scores,
    reference_curve,
    reference_histograms,
    score_answers,
)
from uq4ct.training.run_config import CalibrationName
from uq4ct.training.runs.load import TrainedRun, load_run, load_run_splits


@dataclass(frozen=True, slots=True)
class Publication:
    """The stored version, and the answers to the test split: of the base model alone, and as served."""

    manifest: Manifest
    untrained: ScoredAnswers
    served: ScoredAnswers


def publish_run(  # noqa: PLR0913  (each is a choice of the publication)
    folder: Path,
    registry: Registry,
    console: Console,
    *,
    calibration: CalibrationName | None = None,
    promote: bool = False,
    allow_weak_calibration: bool = False,
    targets: DecisionTargets = DEFAULT_TARGETS,
    base_folders: Sequence[Path] = (),
) -> Publication:
    """Score a finished run and store it as the next version of its name.

    `calibration` defaults to the recipe's. It is fitted on the fit split; decisions and references come from the
    guarantee split, scores from the test split, on which nothing is fitted.

    Raises:
        RunError: the folder holds no finished run, or its data have changed since it was trained.
        WeakCalibrationError: the calibration is fitted on too few questions or at a bound, unless
            `allow_weak_calibration`, which only prints a warning; nothing is stored.
        UnmetTargetError: the guarantee split cannot support a target; nothing is stored.
    """
    run = load_run(folder, base_folders=base_folders)
    splits = load_run_splits(run)
    predictor = run.predictor()
    budget = run.config.training.evaluation_batch_tokens
    fit = sample_split(predictor, splits.fit, budget, console, "fit split")
    fitted = fit_calibration(calibration or run.config.calibration, fit, splits.fit)
    if not allow_weak_calibration:
        check_strength(fitted)
    warn_if_weak(fitted, console)
    untrained = _answer_untrained(run, splits.test, console)
    guarantee = sample_split(predictor, splits.guarantee, budget, console, "guarantee split")
    test = sample_split(predictor, splits.test, budget, console, "test split")
    answers = answers_of(test, splits.test, fitted)
    served = score_answers(answers, splits.test)
    reference = score_answers(answers_of(guarantee, splits.guarantee, fitted), splits.guarantee)
    decisions = fit_decisions(targets, reference, served)
    draft = ManifestDraft(
        name=run.config.name,
        method=run.config.method,
        dtype=run.result.dtype,
        base=run.result.base,
        layout=run.base.layout,
        adapter=run.config.adapter,
        scoring=run.config.scoring,
        posterior=run.result.posterior,
        calibration=fitted,
        scores_before=compute_scores(score_answers(answers_of(test, splits.test, NoCalibration()), splits.test)),
        scores_after=compute_scores(served),
        scores_untrained=compute_scores(untrained),
        reference_histograms=reference_histograms(reference),
        reference_curve=reference_curve(reference),
        decisions=decisions,
        batch_company=measure_batch_company(predictor, splits.test, answers, fitted, run.result.dtype, console),
        provenance=_provenance(run),
    )
    diagram = reliability_png(served, f"{run.config.name}, test split")
    manifest = registry.publish(draft, run.tensors, {"reliability.png": diagram}, promote=promote)
    return Publication(manifest, untrained, served)


def _answer_untrained(run: TrainedRun, questions: Sequence[Question], console: Console) -> ScoredAnswers:
    """Return the base model's own answers: untrained plain LoRA adds nothing."""
    plain = AdapterConfig(experts=1, top_k=1, rank=1)
    model = add_adapter(run.base, plain, run.config.scoring, adapter="untrained", tuner=run.model.tuner)
    predictor = Predictor(model, PointPosterior())
    budget = run.config.training.evaluation_batch_tokens
    samples = sample_split(predictor, questions, budget, console, "untrained")
    return score_answers(answers_of(samples, questions, NoCalibration()), questions)


def _provenance(run: TrainedRun) -> Provenance:
    result = run.result
    return Provenance(
        recipe=run.config.model_dump(mode="json"),
        code_commit=result.code_commit,
        seed=run.config.training.seed,
        splits=SplitSizes(train=result.train, fit=result.fit, guarantee=result.guarantee, test=result.test),
        data_digest=result.data_digest,
    )
