"""Answers of imaginary models, drawn so that what a study must find in them is known."""

from __future__ import annotations

import torch

from uq4ct.training.evaluation.scores import ScoredAnswers

OPTIONS = 4


def simulate_answers(
    questions: int, *, seed: int, sharpness: float = 1.0, correct: bool | None = None
) -> ScoredAnswers:
    """Answers of a calibrated model of its own logits; its probabilities are then sharpened, 1 = stay calibrated.

    `correct` makes all of them right or wrong. The right options are the same for every seed.
    """
    generator = torch.Generator().manual_seed(1000 + seed)
    answers = torch.arange(questions) % OPTIONS
    logits = torch.randn(questions, OPTIONS, generator=generator, dtype=torch.float64)
    probabilities = (1.5 * logits).softmax(dim=-1)
    truth = torch.multinomial(probabilities, 1, generator=generator).squeeze(1)
    if correct is not None:
        truth = probabilities.argmax(dim=-1) if correct else probabilities.argmin(dim=-1)
    # Columns are rotated so that the drawn truth stands where the right option is.
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
