"""Split conformal prediction: sets of options that contain the right one with a chosen probability, without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

ConformalScore = Literal["lac", "aps"]
MOST_SCORES = 2000  # kept of a calibration; a rank that is looked up is late by less than 1 / 2000 of the questions


def nonconformity(probabilities: Sequence[float], kind: ConformalScore) -> list[float]:
    """Return the nonconformity of each candidate of one question; a padded candidate has probability 0.

    `lac` is 1 - p (Sadinle, Lei, Wasserman 2019). `aps` is the mass of all candidates at least as probable, the
    candidate's own included (Romano, Sesia, Candes 2020, without their random tie-break, so that the same question gets
    the same set). Sums are exact before they are rounded, so padding and order do not change the result.
    """
    if kind == "lac":
        return [1 - p for p in probabilities]
    return [math.fsum(other for other in probabilities if other >= p) for p in probabilities]


def sketch_scores(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the order statistics to store of n sorted scores: all of them, or MOST_SCORES at equal steps of rank.

    The i-th of m kept scores is the ceil(i n / m)-th smallest, so the largest is always kept.
    """
    questions, kept = len(scores), min(len(scores), MOST_SCORES)
    return tuple(scores[-(-index * questions // kept) - 1] for index in range(1, kept + 1))


def conformal_threshold(sketch: Sequence[float], questions: int, coverage: float) -> float:
    """Return the largest nonconformity that a set of this coverage admits, from the `sketch_scores` of n `questions`.

    It is the smallest kept score whose rank is at least ceil((n + 1) * coverage): that order statistic itself if all
    are kept, else a later one by fewer than n / m ranks. If the rank is above n, it is infinity and every option is
    admitted. The set of a new question then contains its right option with probability at least `coverage`, over the
    draw of both calibration and question (Vovk, Gammerman, Shafer 2005; Lei et al. 2018): a larger threshold admits
    no fewer options.

    Raises:
        ValueError: `coverage` is not between 0 and 1.
    """
    if not 0 <= coverage <= 1:
        raise ValueError(f"coverage must be between 0 and 1, not {coverage}")
    # Computed from the decimal: in binary 0.07 * 100 is above 7, and the rank would be one too high.
    rank = math.ceil((questions + 1) * Fraction(repr(coverage)))
    if rank > questions:
        return math.inf
    return sketch[(rank - 1) * len(sketch) // questions] if rank > 0 else -math.inf


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
