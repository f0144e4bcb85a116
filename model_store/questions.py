"""Multiple-choice questions: the domain object that the whole project shares."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uq4ct.model_store.errors import UserError
from uq4ct.model_store.lookalikes import is_blank, join_words, looks_of

LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MIN_OPTIONS = 2
MAX_OPTIONS = len(LABELS)
_FIELDS = {"id", "question", "options", "context", "answer", "subject"}  # of a record
_SEPARATORS = ("Cc", "Zl", "Zp", "Zs")  # controls, line and paragraph separators, spaces


class QuestionError(UserError, ValueError):
    """An invalid question; `field` names the invalid field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Question:
    """One multiple-choice question, valid by construction.

    Raises:
        QuestionError: the text is empty, there are fewer than 2 or more than 26 options, an option is empty
            or looks like another, or the answer is not the index of an option.
    """

    id: str
    text: str
    options: tuple[str, ...]
    context: str | None = None
    answer: int | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        if is_blank(self.text):
            raise QuestionError("question", "is empty")
        _check_encodable("question", self.text)
        _check_encodable("context", self.context or "")
        _check_options(self.options)
        if self.answer is not None and not 0 <= self.answer < len(self.options):
            raise QuestionError("answer", f"{self.answer} is not the index of one of {len(self.options)} options")

    @property
    def characters(self) -> int:
        """The total length of its texts, in characters."""
        return count_characters(self.text, self.options, self.context)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Question:
        """Read one record with the keys id, question, options and, where known, context, answer, subject.

        Raises:
            QuestionError: a key is missing, unknown or of the wrong type.
        """
        for key in ("id", "question", "options"):
            if key not in record:
                raise QuestionError(key, "is missing")
        unknown = record.keys() - _FIELDS
        if unknown:
            raise QuestionError(sorted(unknown)[0], "is not a field of a question")
        if not isinstance(record["options"], list | tuple):
            raise QuestionError("options", f"must be a list of texts, not {type(record['options']).__name__}")
        return cls(
            id=_text("id", record["id"]),
            text=_text("question", record["question"]),
            options=_texts("options", record["options"]),
            context=_optional_text("context", record.get("context")),
            answer=_optional_index("answer", record.get("answer")),
            subject=_optional_text("subject", record.get("subject")),
        )

    def to_record(self) -> dict[str, Any]:
        """Return the record that `from_record` reads."""
        return {
            "id": self.id,
            "question": self.text,
            "context": self.context,
            "options": list(self.options),
            "answer": self.answer,
            "subject": self.subject,
        }


def count_characters(text: str, options: Iterable[str], context: str | None) -> int:
    """Return the total length of a question's texts, in characters; the question need not be valid."""
    return len(text) + len(context or "") + sum(map(len, options))


def normalise_option(option: str) -> str:
    """Return the form in which options are shown: on one line, single spaces, no control characters.

    All kinds of line breaks are replaced, so that an option cannot end its line in a prompt and fake another option.
    """
    if option.isprintable():  # then its only separators are plain spaces
        return join_words(option)
    return join_words("".join(" " if unicodedata.category(char) in _SEPARATORS else char for char in option))


def _check_options(options: tuple[str, ...]) -> None:
    if not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
        raise QuestionError("options", f"must have between {MIN_OPTIONS} and {MAX_OPTIONS} entries, not {len(options)}")
    seen: dict[str, int] = {}
    for index, option in enumerate(options):
        _check_encodable(f"options.{index}", option)
        if is_blank(option):
            raise QuestionError(f"options.{index}", "is empty")
        looks = looks_of(option)
        if looks in seen:
            raise QuestionError(f"options.{index}", _describe_repetition(options, index, seen[looks]))
        seen[looks] = index


def _describe_repetition(options: tuple[str, ...], index: int, earlier: int) -> str:
    shown, other = (normalise_option(options[position])[:80] for position in (index, earlier))
    if shown == other:
        return f"{shown!r} is the same as option {earlier}"
    return (
        f"{shown!a} looks the same as option {earlier}, {other!a}: "
        "they differ only in invisible characters or in how characters are encoded"
    )


def _check_encodable(field: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise QuestionError(field, f"character {error.start} is a lone surrogate, not valid Unicode text") from error


def _texts(field: str, values: Sequence[Any]) -> tuple[str, ...]:
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise _not_text(f"{field}.{index}", value)
    return tuple(values)


def _text(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _not_text(field, value)
    return value


def _not_text(field: str, value: Any) -> QuestionError:
    return QuestionError(field, f"must be text, not {type(value).__name__}")


def _optional_text(field: str, value: Any) -> str | None:
    return None if value is None else _text(field, value)


def _optional_index(field: str, value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise QuestionError(field, f"must be the index of the right option, not {value!r}")
    return value
