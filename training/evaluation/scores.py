"""Scores of a split with their intervals, from the same predictor that serves."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
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
from uq4ct.model_store.uncertainty.resampling import bootstrap_mean
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


class AnswerColumns:
    """Collects answers one by one as numbers, which take a tenth of the memory of the objects."""

    def __init__(self) -> None:
        self._probabilities = array("d")
        self._options = array("q")
        self._chosen = array("q")
        self._right = array("q")
        self._confidence = array("d")
        self._optional = {name: array("d") for name in ("feu", "epistemic", "error_score")}

    def add(self, answer: Answer, right: int) -> None:
        """Add an answer to a question with this right option."""
        self._probabilities.extend(answer.probabilities)
        self._options.append(len(answer.probabilities))
        self._chosen.append(answer.option)
        self._right.append(right)
        self._confidence.append(answer.confidence)
        for name, column in self._optional.items():
            value = getattr(answer, name)
            if value is not None:
                column.append(value)

    def score(self) -> ScoredAnswers:
        """Compare the answers with the right options; there must be at least one."""
        options, right = np.array(self._options), torch.tensor(self._right)
        probabilities = np.zeros((len(options), options.max()))
        probabilities[np.arange(options.max()) < options[:, None]] = self._probabilities
        return ScoredAnswers(
            probabilities=torch.from_numpy(probabilities),
            options=torch.from_numpy(options),
            answers=right,
            confidence=torch.tensor(self._confidence, dtype=torch.float64),
            correct=torch.tensor(self._chosen) == right,
            **{
                name: torch.tensor(column, dtype=torch.float64) if column else None
                for name, column in self._optional.items()
            },
        )


def score_answers(answers: Sequence[Answer], questions: Sequence[Question]) -> ScoredAnswers:
    """Compare answers with the right options."""
    columns = AnswerColumns()
    for answer, right in zip(answers, right_options(questions).tolist(), strict=True):
        columns.add(answer, right)
    return columns.score()


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
        nll_interval=_stored(bootstrap_mean(nll)),
        brier=brier.mean().item(),
        brier_interval=_stored(bootstrap_mean(brier)),
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
        "nll": (nll.mean().item(), bootstrap_mean(nll)),
        "brier": (brier.mean().item(), bootstrap_mean(brier)),
    }


def mean_nll(scored: ScoredAnswers) -> float:
    """Return the mean negative log likelihood, in nats per question."""
    return VALUES["nll"](scored).mean().item()


def _stored(interval: Interval) -> StoredInterval:
    return StoredInterval(low=interval.low, high=interval.high)


# Scores that are means over questions, as the value of each question: float64 [B].
VALUES: dict[str, Callable[[ScoredAnswers], Tensor]] = {
    "accuracy": lambda scored: scored.correct.double(),
    "nll": lambda scored: negative_log_likelihood(scored.probabilities, scored.answers),
    "brier": lambda scored: brier_score(scored.probabilities, scored.answers),
}
