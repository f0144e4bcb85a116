"""Encode one question or many at once, in the same way for every kind of scoring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.model_store.scoring.encoding import QuestionTooLongError, TextEncoder, clean_text
from uq4ct.model_store.token_batch import EncodedQuestion

Encoded = EncodedQuestion | QuestionTooLongError | QuestionError


class ManyEncoder(Protocol):
    """What `encode_one` needs of a scorer."""

    def encode_all(self, questions: Sequence[Question]) -> list[Encoded]:
        """Encode questions; in place of one that cannot be encoded, the error."""
        ...


def encode_one(scorer: ManyEncoder, question: Question) -> EncodedQuestion:
    """Encode a question, or raise the error that takes its place."""
    (encoded,) = scorer.encode_all([question])
    if isinstance(encoded, EncodedQuestion):
        return encoded
    raise encoded from encoded.__cause__


def encode_short(
    encoder: TextEncoder,
    questions: Sequence[Question],
    token_limit: int,
    encode: Callable[[Sequence[Question]], Iterable[Encoded]],
) -> list[Encoded]:
    """Encode with `encode` the questions that have few enough characters; in place of the others, their error."""
    errors = [_too_many_characters(encoder, question, token_limit) for question in questions]
    short = [question for question, error in zip(questions, errors, strict=True) if error is None]
    encoded = iter(encode(short) if short else ())
    return [next(encoded) if error is None else error for error in errors]


def _too_many_characters(encoder: TextEncoder, question: Question, token_limit: int) -> QuestionTooLongError | None:
    try:
        encoder.check_characters(question, token_limit)
    except QuestionTooLongError as error:
        return error
    return None


def context_of(question: Question) -> str:
    """The line before a question: its context, if it has one."""
    return f"{clean_text(question.context)}\n" if question.context else ""
