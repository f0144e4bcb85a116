"""A quiz that ships with the project, so that everything runs and is tested without a download."""

from uq4ct.training.data.facts.quiz import SHIFT_SUBJECTS, FactsQuiz, build

__all__ = ["SHIFT_SUBJECTS", "FactsQuiz", "build"]
