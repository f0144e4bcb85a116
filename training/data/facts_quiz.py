"""The quiz that ships with the project, as a source of questions."""

from __future__ import annotations

from uq4ct.model_store.questions import Question
from uq4ct.training.data import facts
from uq4ct.training.data.config import FactsData
from uq4ct.training.data.source import SourceSplits


def load(config: FactsData) -> SourceSplits:
    """Return the quiz drawn by the configured seed; each held-out subject is a shift set."""
    quiz = facts.build(config.seed)
    shift: dict[str, list[Question]] = {subject: [] for subject in facts.SHIFT_SUBJECTS}
    for question in quiz.shift:
        shift[str(question.subject)].append(question)
    return SourceSplits(
        train=quiz.train,
        calibration=quiz.calibration,
        test=quiz.test,
        shift={subject: tuple(questions) for subject, questions in shift.items()},
    )
