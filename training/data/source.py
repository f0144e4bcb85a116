"""What every source of questions returns, and the error that it raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.questions import Question


class DataError(UserError, ValueError):
    """Data that cannot be used; the message says where the problem is and what it is."""


@dataclass(frozen=True, slots=True)
class SourceSplits:
    """The questions of one source; `messages` say what was left out and why."""

    train: Sequence[Question]
    calibration: Sequence[Question]
    test: Sequence[Question]
    shift: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    messages: tuple[str, ...] = ()
