"""Scores of a split with their intervals, from the same predictor that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.calibrations import Calibration
from uq4ct.model_store.posteriors import CandidateSamples
from uq4ct.model_store.predictor import answers_from_samples
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.manifest import Interval as StoredInterval
from uq4ct.model_store.storage.manifest import ReferenceCurve, ReferenceHistograms, Scores
from uq4ct.model_store.uncertainty.calibration_error import (
    confidence_bin,
    expected_calibration_error,
    noise_floor,
)
from uq4ct.model_store.uncertainty.intervals import Interval, paired_share_interval, wilson_interval
from uq4ct.model_store.uncertainty.proper_scores import brier_score, negative_log_likelihood
from uq4ct.model_store.uncertainty.ranking import area_under_risk_coverage, auroc
from uq4ct.model_store.uncertainty.resampling import bootstrap_interval
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS, selective_curve
from uq4ct.model_store.uncertainty.squared_calibration_error import (
    Confidences,
    squared_calibration_error,
    squared_calibration_error_difference,
)
from uq4ct.training.data.answers import right_options

BINS = 15


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

    @property
    def confidences(self) -> Confidences:
        """Confidence and correctness, for calibration errors."""
        return Confidences(self.confidence, self.correct)


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
    """Compute every score of a split, with 95 % intervals over its questions."""
    confidence, correct, feu = scored.confidence, scored.correct, scored.feu
    questions = len(correct)
    floor = noise_floor(confidence, BINS)
    squared = squared_calibration_error([scored.confidences], BINS)
    hits, nll, brier = (values_of(scored) for values_of in VALUES.values())
    return Scores(
        questions=questions,
        accuracy=hits.mean().item(),
        accuracy_interval=_stored(wilson_interval(int(correct.sum()), questions)),
        ece=expected_calibration_error(confidence, correct, BINS),
        ece_noise_floor=floor.mean,
        ece_noise_floor_p95=floor.p95,
        rms_calibration_error=squared.root,
        rms_calibration_error_interval=_stored(squared.root_interval),
        nll=nll.mean().item(),
        nll_interval=_stored(_bootstrap(nll)),
        brier=brier.mean().item(),
        brier_interval=_stored(_bootstrap(brier)),
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
    """Return ours minus theirs on the same questions, with 95 % paired intervals.

    The ECE is not among them: by chance alone it is higher for one calibrated model than for another.

    Raises:
        ValueError: they did not answer the same questions.
    """
    if not torch.equal(ours.answers, theirs.answers):
        raise ValueError("a paired difference needs the same questions in the same order")
    hits, nll, brier = (values_of(ours) - values_of(theirs) for values_of in VALUES.values())
    squared = squared_calibration_error_difference([ours.confidences], [theirs.confidences], BINS)
    return {
        "accuracy": (hits.mean().item(), paired_share_interval(hits)),
        "squared calibration error": (squared.value, squared.interval),
        "nll": (nll.mean().item(), _bootstrap(nll)),
        "brier": (brier.mean().item(), _bootstrap(brier)),
    }


def mean_nll(scored: ScoredAnswers) -> float:
    """Return the mean negative log likelihood, in nats per question."""
    return VALUES["nll"](scored).mean().item()


def _bootstrap(values: Tensor) -> Interval:
    """Return the interval of the mean of `values` [B]."""
    return bootstrap_interval(lambda rows: values[rows].mean().item(), len(values))


def _stored(interval: Interval) -> StoredInterval:
    return StoredInterval(low=interval.low, high=interval.high)


# Scores that are means over questions, as the value of each question: float64 [B].
VALUES: dict[str, Callable[[ScoredAnswers], Tensor]] = {
    "accuracy": lambda scored: scored.correct.double(),
    "nll": lambda scored: negative_log_likelihood(scored.probabilities, scored.answers),
    "brier": lambda scored: brier_score(scored.probabilities, scored.answers),
}
