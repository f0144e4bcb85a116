"""Predictions of a split as JSON lines: one answer per line, to compare runs question by question."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.question_files import QuestionFileError, read_records
from uq4ct.model_store.questions import Question
from uq4ct.training.evaluation.scores import ScoredAnswers, score_answers


class PredictionsError(UserError, ValueError):
    """Predictions that cannot be compared."""


def write_predictions(path: Path, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
    """Write each question with its answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"question": question.to_record(), "answer": asdict(answer)}, ensure_ascii=False)
        for question, answer in zip(questions, answers, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_predictions(path: Path) -> tuple[list[Question], list[Answer]]:
    """Read what `write_predictions` wrote.

    Raises:
        QuestionFileError: the file cannot be read, or a line is not a prediction; the message names file and line.
    """
    questions: list[Question] = []
    answers: list[Answer] = []
    for number, record in read_records(path):
        try:
            questions.append(Question.from_record(record["question"]))
            answer = record["answer"]
            answers.append(Answer(**(answer | {"probabilities": tuple(answer["probabilities"])})))
        except (ValueError, KeyError, TypeError) as error:
            raise QuestionFileError(f"{path}, line {number}: is not a prediction: {error!r}") from error
    if not questions:
        raise QuestionFileError(f"{path}: contains no predictions")
    return questions, answers


def read_pair(ours: Path, theirs: Path) -> tuple[ScoredAnswers, ScoredAnswers]:
    """Read two prediction files of the same questions, ready to compare.

    Raises:
        PredictionsError: they are not about the same questions.
        QuestionFileError: a file cannot be read.
    """
    (our_questions, our_answers), (their_questions, their_answers) = read_predictions(ours), read_predictions(theirs)
    if our_questions != their_questions:
        raise PredictionsError(f"{ours} and {theirs} are not about the same questions in the same order")
    return score_answers(our_answers, our_questions), score_answers(their_answers, their_questions)
