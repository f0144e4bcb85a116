"""Targets of a calibration's fit, shrunk towards the model's own probabilities so that a few labels move it little."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from uq4ct.model_store.uncertainty.proper_scores import check_answers

FEWEST_QUESTIONS = 30  # a fit on fewer is weak: it hardly improves what it should, as the simulation in LOG.md shows


def prior_share(questions: float, prior_questions: float) -> float:
    """Return m / (n + m), the weight of `prior_questions` m beside n `questions`."""
    return prior_questions / (questions + prior_questions)


def soften(probabilities: Tensor, answers: Tensor, prior_questions: float) -> Tensor:
    """Return the targets (1 - w) one_hot(answer) + w p with w = m / (n + m): float64 [B, C].

    A fit to them is a fit to the n questions and to `prior_questions` m more whose answers follow the model's own
    `probabilities` p [B, C], so without labels the best map is the identity, and a map of lowest cross entropy is
    finite even where every answer is right. `answers` long [B]. Raises ValueError on an answer that is not a candidate.
    """
    check_answers(answers, questions=probabilities.shape[0], candidates=probabilities.shape[1])
    weight = prior_share(len(answers), prior_questions)
    return (1 - weight) * one_hot(answers, probabilities.shape[1]) + weight * probabilities.double()


def cross_entropy(targets: Tensor, probabilities: Tensor) -> Tensor:
    """Return the mean cross entropy of `probabilities` [B, C] under `targets` [B, C], in nats: scalar.

    A probability below the smallest normal float64 counts as that number.
    """
    logs = probabilities.double().clamp(min=torch.finfo(torch.float64).tiny).log()
    return -(targets * logs).sum(dim=-1).mean()
