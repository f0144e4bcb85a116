"""How a row of any table becomes a question: a mapping of columns, in the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from uq4ct.model_store.frozen import Frozen
from uq4ct.model_store.questions import LABELS, Question, QuestionError

AnswerKind = Literal["index", "number", "letter", "label", "text"]


class Columns(Frozen):
    """The columns of a table that make a question. `choices.text` is the field `text` inside the column `choices`."""

    question: str = Field(default="question", min_length=1, description="column of the question's text")
    options: str | tuple[str, ...] = Field(
        default="options",
        description="column with a list of texts, or a column for each option; empty cells are skipped",
    )
    answer: str = Field(default="answer", min_length=1, description="column of the right option")
    answer_is: AnswerKind = Field(
        default="index",
        description="index: counted from 0; number: from 1; letter: A, B, ...; label: one of the column `labels`; "
        "text: the option itself",
    )
    labels: str | None = Field(default=None, description="column with the options' labels, in their order")
    id: str | None = Field(default=None, description="column of a unique id; null makes one of split and row")
    context: str | None = Field(default=None, description="column of a passage that the question is about")
    subject: str | None = Field(default=None, description="column of a subject")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.answer_is == "label") != (self.labels is not None):
            raise ValueError(f"labels must be given if answer_is is 'label', and only then (it is {self.answer_is!r})")
        if isinstance(self.options, tuple) and len(self.options) < 2:
            raise ValueError(f"options {list(self.options)} must be one column with a list, or two columns at least")
        return self


def question_from_row(columns: Columns, identifier: str, row: Mapping[str, Any]) -> Question:
    """Return the question of a row; `identifier` is its id if the mapping names no column for it.

    Raises:
        QuestionError: the row is not a valid question.
        KeyError: a column is not there; its argument is the name in the mapping.
    """
    options = options_of_row(columns, row)
    return Question(
        id=identifier if columns.id is None else str(_value(row, columns.id)),
        text=_value(row, columns.question),
        options=options,
        context=None if columns.context is None else _value(row, columns.context) or None,
        answer=_answer(columns, options, row),
        subject=None if columns.subject is None else _value(row, columns.subject) or None,
    )


def options_of_row(columns: Columns, row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of a row, which need not be valid; raises as `question_from_row`."""
    if isinstance(columns.options, tuple):
        cells = [_value(row, column) for column in columns.options]
        return tuple(cell for cell in cells if cell not in (None, ""))
    cells = _value(row, columns.options)
    if isinstance(cells, str) or not isinstance(cells, Sequence):
        raise QuestionError("options", f"column {columns.options!r} must have a list, not {_shown(cells)}")
    return tuple(cells)


def _answer(columns: Columns, options: Sequence[str], row: Mapping[str, Any]) -> int:
    found = _value(row, columns.answer)
    if columns.answer_is in ("index", "number"):
        return _number(found) - (1 if columns.answer_is == "number" else 0)
    names: Sequence[Any] = {"letter": LABELS[: len(options)], "text": options}.get(columns.answer_is, ())
    if columns.labels is not None:
        names = list(_value(row, columns.labels))
    wanted = found.strip() if isinstance(found, str) else found
    if wanted not in names:
        allowed = ", ".join(map(_shown, names[: len(options)]))
        raise QuestionError("answer", f"must be one of {allowed}, not {_shown(found)}")
    return list(names).index(wanted)


def _number(found: Any) -> int:
    if isinstance(found, str) and found.strip().isascii() and found.strip().isdecimal():
        return int(found)
    if isinstance(found, bool) or not isinstance(found, int):
        raise QuestionError("answer", f"must be a whole number, not {_shown(found)}")
    return found


def _value(row: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of names; a list on the way gives the list of its items' values."""
    value: Any = row
    if path in row:
        return row[path]
    for name in path.split("."):
        try:
            value = [item[name] for item in value] if isinstance(value, list) else value[name]
        except (KeyError, TypeError) as error:
            raise KeyError(path) from error
    return value


def _shown(value: Any) -> str:
    return repr(value)[:80]
