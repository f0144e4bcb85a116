"""The calibration of split conformal prediction: the nonconformity of right options."""

from __future__ import annotations

from torch import Tensor

from uq4ct.model_store.uncertainty.conformal import ConformalScore, nonconformity
from uq4ct.model_store.uncertainty.proper_scores import check_answers


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
