"""Questions with the same option twice: published data sets hold them, a question of ours cannot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from uq4ct.model_store.questions import QuestionError, normalise_option

MESSAGE_PLACES = 3


def repeats_option(error: QuestionError, options: Any) -> bool:
    """Whether the question was refused because one of its options, all of them texts, stands twice."""
    if not error.field.startswith("options.") or not all(isinstance(option, str) for option in options):
        return False
    return len({normalise_option(option) for option in options}) < len(options)


def describe_left_out(split: str, refused: Sequence[str], total: int) -> tuple[str, ...]:
    """One sentence about the questions that were left out of a split, or none where there are none."""
    if not refused:
        return ()
    named = ", ".join(refused[:MESSAGE_PLACES]) + (", ..." if len(refused) > MESSAGE_PLACES else "")
    return (f"{len(refused)} of {total} questions left out of {split}, as an option stands in them twice: {named}",)
