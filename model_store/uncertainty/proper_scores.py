"""Proper scoring rules of the candidate probabilities, one value per question."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def negative_log_likelihood(probabilities: Tensor, answers: Tensor) -> Tensor:
    """Return minus the log of each right answer's probability, float64 [B], in nats.

    `probabilities` [B, C], `answers` long [B]. A probability below the smallest normal float64 (2.2e-308) counts as
    that number, so the loss of one question is at most 708.4. Raises ValueError on an answer that is not a candidate.
    """
    check_answers(answers, questions=probabilities.shape[0], candidates=probabilities.shape[1])
    chosen = probabilities.double().gather(1, answers[:, None]).squeeze(1)
    return -chosen.clamp(min=torch.finfo(torch.float64).tiny).log()


def brier_score(probabilities: Tensor, answers: Tensor) -> Tensor:
    """Return the squared distance of probabilities and one-hot answer, summed over candidates: float64 [B] in [0, 2].

    `probabilities` [B, C] with 0 at padded candidates, `answers` long [B]. Raises ValueError on an answer that is not a
    candidate. Source: Brier 1950, in its original multi-class form (twice the binary form at two candidates).
    """
    check_answers(answers, questions=probabilities.shape[0], candidates=probabilities.shape[1])
    target = one_hot(answers, probabilities.shape[1])
    return (probabilities.double() - target).square().sum(dim=-1)


def check_answers(answers: Tensor, *, questions: int, candidates: int) -> None:
    """Raise ValueError unless `answers` is long [questions] with values in 0..candidates - 1."""
    if answers.shape != (questions,) or answers.dtype != torch.long:
        raise ValueError(f"answers must be long [{questions}], not {answers.dtype} {list(answers.shape)}")
    outside = answers[(answers < 0) | (answers >= candidates)]
    if len(outside):
        raise ValueError(f"answers must lie in 0..{candidates - 1}, not {outside[0].item()}")
