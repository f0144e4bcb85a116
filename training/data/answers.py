"""The right options of labelled questions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from uq4ct.model_store.questions import Question


class UnlabelledError(ValueError):
    """A question without an answer cannot be trained on or scored."""


def right_options(questions: Sequence[Question]) -> Tensor:
    """Return the index of each question's right option [B].

    Raises:
        UnlabelledError: a question has no answer.
    """
    answers = [question.answer for question in questions]
    if None in answers:
        missing = [question.id for question in questions if question.answer is None]
        raise UnlabelledError(f"{len(missing)} questions have no answer, the first is {missing[0]!r}")
    return torch.tensor(answers)
