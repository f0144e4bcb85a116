"""Questions with a repeated option: published data sets contain some, `Question` rejects them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uq4ct.model_store.questions import QuestionError, normalise_option

MESSAGE_PLACES = 3


def repeats_option(error: QuestionError, options: Any) -> bool:
    """Return whether the question was rejected because one of its options (all texts) occurs twice."""
    if not error.field.startswith("options.") or not all(isinstance(option, str) for option in options):
        return False
    return len({normalise_option(option) for option in options}) < len(options)


def describe_left_out(split: str, refused: Sequence[str], total: int) -> tuple[str, ...]:
    """Return one sentence about the questions left out of a split; empty if there are none."""
    if not refused:
        return ()
    named = ", ".join(refused[:MESSAGE_PLACES]) + (", ..." if len(refused) > MESSAGE_PLACES else "")
    return (f"{len(refused)} of {total} questions left out of {split} because an option occurs twice: {named}",)
