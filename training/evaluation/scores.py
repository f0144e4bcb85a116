"""Scores of a split with their intervals, from the same predictor that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.predictor import Answer, answers_from_samples
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import Interval, ReferenceCurve, ReferenceHistograms, Scores
from uq4ct.model_store.uncertainty.calibration_error import (
    confidence_bin,
    debiased_calibration_error,
    expected_calibration_error,
    noise_floor,
)
from uq4ct.model_store.uncertainty.proper_scores import brier_score, negative_log_likelihood
from uq4ct.model_store.uncertainty.ranking import area_under_risk_coverage, auroc
from uq4ct.model_store.uncertainty.resampling import bootstrap_interval
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS, selective_curve
from uq4ct.training.data.answers import right_options

BINS = 15
Statistic = Callable[[Tensor], float]  # of rows [n] of a split, as a bootstrap draws them


@dataclass(frozen=True, slots=True)
class ScoredAnswers:
    """Answers as tensors: `probabilities` [B, C], 0 at absent options, the number of `options`, the right `answers`,
    `confidence` and `correct` [B]; `feu`, `epistemic` and `error_score` [B], None if the method has none."""

    probabilities: Tensor
    options: Tensor
    answers: Tensor
    confidence: Tensor
    correct: Tensor
    feu: Tensor | None
    epistemic: Tensor | None
    error_score: Tensor | None


def score_answers(answers: Sequence[Answer], questions: Sequence[Question]) -> ScoredAnswers:
    """Compare answers with the right options."""
    width = max(len(answer.probabilities) for answer in answers)
    rows = [[*answer.probabilities, *[0.0] * (width - len(answer.probabilities))] for answer in answers]
    right = right_options(questions)
    return ScoredAnswers(
        probabilities=torch.tensor(rows, dtype=torch.float64),
        options=torch.tensor([len(answer.probabilities) for answer in answers]),
        answers=right,
        confidence=torch.tensor([answer.confidence for answer in answers], dtype=torch.float64),
        correct=torch.tensor([answer.option for answer in answers]) == right,
        feu=_column([answer.feu for answer in answers]),
        epistemic=_column([answer.epistemic for answer in answers]),
        error_score=_column([answer.error_score for answer in answers]),
    )


def _column(values: Sequence[float | None]) -> Tensor | None:
    present = [value for value in values if value is not None]
    return torch.tensor(present, dtype=torch.float64) if present else None


def answers_of(samples: CandidateSamples, questions: Sequence[Question], calibration: Calibration) -> list[Answer]:
    """Return the answers of samples to their questions, under a calibration."""
    return answers_from_samples(samples, [len(question.options) for question in questions], calibration)


def compute_scores(scored: ScoredAnswers) -> Scores:
    """Compute every score of a split, with 95 % bootstrap intervals over its questions."""
    confidence, correct, feu = scored.confidence, scored.correct, scored.feu
    floor = noise_floor(confidence, BINS)
    every = torch.arange(len(correct))
    accuracy, ece, nll, brier = (statistic(scored) for statistic in STATISTICS.values())

    def interval(statistic: Statistic) -> Interval:
        found = bootstrap_interval(statistic, len(correct))
        return Interval(low=found.low, high=found.high)

    return Scores(
        questions=len(correct),
        accuracy=accuracy(every),
        accuracy_interval=interval(accuracy),
        ece=ece(every),
        ece_interval=interval(ece),
        ece_noise_floor=floor.mean,
        ece_noise_floor_p95=floor.p95,
        debiased_calibration_error=debiased_calibration_error(confidence, correct, BINS),
        nll=nll(every),
        nll_interval=interval(nll),
        brier=brier(every),
        brier_interval=interval(brier),
        auroc_confidence=auroc(confidence, correct),
        auroc_feu=None if feu is None else auroc(feu, correct),
        ece_feu=None if feu is None else expected_calibration_error(feu, correct, BINS),
        mean_feu=None if feu is None else feu.mean().item(),
        auroc_epistemic=None if scored.epistemic is None else auroc(-scored.epistemic, correct),
        auroc_error_score=None if scored.error_score is None else auroc(-scored.error_score, correct),
        area_under_risk_coverage=area_under_risk_coverage(confidence, correct),
    )


def reference_histograms(scored: ScoredAnswers) -> ReferenceHistograms:
    """Return the reference for live traffic: counts of confidence and FEU in equal bins."""

    def counts(values: Tensor) -> tuple[int, ...]:
        return tuple(torch.bincount(confidence_bin(values.clamp(0, 1), BINS), minlength=BINS).tolist())

    return ReferenceHistograms(
        bins=BINS,
        questions=len(scored.correct),
        confidence=counts(scored.confidence),
        feu=None if scored.feu is None else counts(scored.feu),
        accuracy=scored.correct.double().mean().item(),
        ece=expected_calibration_error(scored.confidence, scored.correct, BINS),
    )


def reference_curve(scored: ScoredAnswers) -> ReferenceCurve:
    """Return the reference for live abstention: answered and wrong counts at each threshold."""
    curve = selective_curve(scored.confidence, scored.correct)
    return ReferenceCurve(
        questions=len(scored.correct), thresholds=THRESHOLDS, answered=curve.answered, wrong=curve.wrong
    )


def paired_differences(ours: ScoredAnswers, theirs: ScoredAnswers) -> dict[str, tuple[float, Interval]]:
    """Return ours minus theirs on the same questions, with 95 % paired bootstrap intervals: accuracy, ECE, NLL, Brier.

    Raises:
        ValueError: they did not answer the same questions.
    """
    if not torch.equal(ours.answers, theirs.answers):
        raise ValueError("a paired difference needs the same questions in the same order")
    return {
        name: _paired(statistic(ours), statistic(theirs), len(ours.answers)) for name, statistic in STATISTICS.items()
    }


def _paired(ours: Statistic, theirs: Statistic, questions: int) -> tuple[float, Interval]:
    found = bootstrap_interval(lambda rows: ours(rows) - theirs(rows), questions)
    every = torch.arange(questions)
    return ours(every) - theirs(every), Interval(low=found.low, high=found.high)


def _accuracy(scored: ScoredAnswers) -> Statistic:
    hits = scored.correct.double()
    return lambda rows: hits[rows].mean().item()


def _ece(scored: ScoredAnswers) -> Statistic:
    return lambda rows: expected_calibration_error(scored.confidence[rows], scored.correct[rows], BINS)


def _nll(scored: ScoredAnswers) -> Statistic:
    values = negative_log_likelihood(scored.probabilities, scored.answers)
    return lambda rows: values[rows].mean().item()


def _brier(scored: ScoredAnswers) -> Statistic:
    values = brier_score(scored.probabilities, scored.answers)
    return lambda rows: values[rows].mean().item()


STATISTICS = {"accuracy": _accuracy, "ece": _ece, "nll": _nll, "brier": _brier}
