"""Answers of simulated models with known properties that a study must find."""

from __future__ import annotations

import torch

from uq4ct.training.evaluation.scores import ScoredAnswers

OPTIONS = 4


def simulate_answers(
    questions: int, *, seed: int, sharpness: float = 1.0, correct: bool | None = None
) -> ScoredAnswers:
    """Return answers of a model that is calibrated before its probabilities are sharpened; 1 = no sharpening.

    `correct` makes all answers right or wrong. The right options are the same for every seed.
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    answers = torch.arange(questions) % OPTIONS
    logits = torch.randn(questions, OPTIONS, generator=generator, dtype=torch.float64)
    probabilities = (1.5 * logits).softmax(dim=-1)
    truth = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    if correct is not None:
        truth = probabilities.argmax(dim=-1) if correct else probabilities.argmin(dim=-1)
    # Columns are rotated so that the drawn truth is at the index of the right option.
    places = (torch.arange(OPTIONS) - (answers - truth)[:, None]) % OPTIONS
    probabilities = (1.5 * sharpness * logits).softmax(dim=-1).gather(1, places)
    confidence, option = probabilities.max(dim=-1)
    return ScoredAnswers(
        probabilities=probabilities,
        options=torch.full((questions,), OPTIONS),
        answers=answers,
        confidence=confidence,
        correct=option == answers,
        feu=None,
        epistemic=None,
        error_score=None,
    )
