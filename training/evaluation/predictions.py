"""Predictions of a split as JSON lines: one answer per line, to compare runs question by question."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from uq4ct.model_store.answers import Answer
from uq4ct.model_store.errors import UserError
from uq4ct.model_store.question_files import QuestionFileError, read_records
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.durable_files import replace_file
from uq4ct.training.evaluation.scores import AnswerColumns, ScoredAnswers

_NOT_A_PREDICTION = (ValueError, KeyError, TypeError)


class PredictionsError(UserError, ValueError):
    """Predictions that cannot be compared."""


def write_predictions(path: Path, questions: Sequence[Question], answers: Sequence[Answer]) -> None:
    """Write each question with its answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps({"question": question.to_record(), "answer": asdict(answer)}, ensure_ascii=False)
        for question, answer in zip(questions, answers, strict=True)
    ]
    replace_file(path, ("\n".join(lines) + "\n").encode())


def read_predictions(path: Path) -> tuple[list[Question], list[Answer]]:
    """Read what `write_predictions` wrote.

    Raises:
        QuestionFileError: the file cannot be read, or a line is not a prediction; the message names file and line.
    """
    questions: list[Question] = []
    answers: list[Answer] = []
    for line in _read_lines(path):
        questions.append(line.question())
        answers.append(line.answer())
    return questions, answers


def read_pair(ours: Path, theirs: Path) -> tuple[ScoredAnswers, ScoredAnswers]:
    """Read two prediction files of the same questions, ready to compare.

    The files are read side by side and only numbers are kept, so that they may have millions of lines.

    Raises:
        PredictionsError: they are not about the same questions.
        QuestionFileError: a file cannot be read, or a line is not a prediction for a question with an answer.
    """
    mine, other = AnswerColumns(), AnswerColumns()
    for our_line, their_line in zip_longest(_read_lines(ours), _read_lines(theirs)):
        if our_line is None or their_line is None or (right := _common_answer(our_line, their_line)) is None:
            raise PredictionsError(f"{ours} and {theirs} are not about the same questions in the same order")
        our_line.add_to(mine, right)
        their_line.add_to(other, right)
    return mine.score(), other.score()


class _Line(NamedTuple):
    """One line of a file of predictions."""

    path: Path
    number: int
    record: dict[str, Any]

    def question(self) -> Question:
        try:
            return Question.from_record(self.record["question"])
        except _NOT_A_PREDICTION as error:
            raise self._failure(error) from error

    def answer(self) -> Answer:
        try:
            answer = self.record["answer"]
            return Answer(**(answer | {"probabilities": tuple(answer["probabilities"])}))
        except _NOT_A_PREDICTION as error:
            raise self._failure(error) from error

    def add_to(self, columns: AnswerColumns, right: int) -> None:
        answer = self.answer()
        try:
            columns.add(answer, right)
        except TypeError as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> QuestionFileError:
        return QuestionFileError(f"{self.path}, line {self.number}: is not a prediction: {error!r}")


def _read_lines(path: Path) -> Iterator[_Line]:
    line = None
    for number, record in read_records(path):
        line = _Line(path, number, record)
        yield line
    if line is None:
        raise QuestionFileError(f"{path}: contains no predictions")


def _common_answer(ours: _Line, theirs: _Line) -> int | None:
    """Return the right option of the question that two lines have in common; None if they have not.

    Raises:
        QuestionFileError: a line has no valid question, or the question has no answer.
    """
    question = ours.question()
    # Equal records need no second question: creating one takes longer than anything else here.
    if ours.record["question"] != theirs.record.get("question") and question != theirs.question():
        return None
    if question.answer is None:
        raise QuestionFileError(f"{ours.path}, line {ours.number}: question {question.id!r} has no answer")
    return question.answer
