"""Split conformal prediction: sets of options that contain the right one with a chosen probability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from torch import Tensor

from uq4ct.model_store.uncertainty.proper_scores import check_answers

ConformalScore = Literal["lac", "aps"]


def nonconformity(probabilities: Sequence[float], kind: ConformalScore) -> list[float]:
    """Return the nonconformity of each candidate of one question; a padded candidate has probability 0.

    `lac` is 1 - p (Sadinle, Lei, Wasserman 2019). `aps` is the mass of all candidates at least as probable, the
    candidate's own included (Romano, Sesia, Candes 2020, without their random tie-break, so that the same question gets
    the same set). Sums are exact before they are rounded, so padding and order do not change the result.
    """
    if kind == "lac":
        return [1 - p for p in probabilities]
    return [math.fsum(other for other in probabilities if other >= p) for p in probabilities]


def calibration_scores(probabilities: Tensor, answers: Tensor, kind: ConformalScore) -> tuple[float, ...]:
    """Return the nonconformity of each right option, sorted; `probabilities` [B, C], `answers` long [B].

    Raises:
        ValueError: an answer is out of range, or there are no questions.
    """
    if len(answers) == 0:
        raise ValueError("conformal sets need at least 1 calibration question, not 0")
    check_answers(answers, questions=probabilities.shape[0], candidates=probabilities.shape[1])
    rows = zip(probabilities.tolist(), answers.tolist(), strict=True)
    return tuple(sorted(nonconformity(row, kind)[answer] for row, answer in rows))


def conformal_threshold(scores: Sequence[float], coverage: float) -> float:
    """Return the largest nonconformity that a set of this coverage admits.

    It is the ceil((n + 1) * coverage)-th smallest of the n sorted `scores`; if that rank is above n, it is infinity and
    every option is admitted. The set of a new question then contains its right option with probability at least
    `coverage`, over the draw of both calibration and question (Vovk, Gammerman, Shafer 2005; Lei et al. 2018).

    Raises:
        ValueError: `coverage` is not between 0 and 1.
    """
    if not 0 <= coverage <= 1:
        raise ValueError(f"coverage must be between 0 and 1, not {coverage}")
    # Computed from the decimal: in binary 0.07 * 100 is above 7, and the rank would be one too high.
    rank = math.ceil((len(scores) + 1) * Fraction(repr(coverage)))
    if rank > len(scores):
        return math.inf
    return scores[rank - 1] if rank > 0 else -math.inf


def largest_coverage(questions: int) -> float:
    """Return the highest coverage that n calibration questions give without admitting every option: n / (n + 1)."""
    return questions / (questions + 1)


def prediction_set(probabilities: Sequence[float], kind: ConformalScore, threshold: float) -> tuple[int, ...]:
    """Return the candidates whose nonconformity is at most the threshold, in their order.

    The most probable candidate always belongs: an empty set is useless, and an extra option can only raise the
    coverage.
    """
    scores = nonconformity(probabilities, kind)
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    return tuple(index for index, score in enumerate(scores) if score <= threshold or index == best)
