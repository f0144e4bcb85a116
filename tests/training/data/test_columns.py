"""Rows of any table become questions through a mapping of columns; what does not fit is named."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.training.data.columns import Columns, question_from_row

GASES = ("oxygen", "carbon dioxide", "helium")
EXPECTED = Question("x", "Which gas do plants take in?", GASES, answer=1)


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        ({}, {"question": EXPECTED.text, "options": list(GASES), "answer": 1}),
        ({"answer_is": "number"}, {"question": EXPECTED.text, "options": GASES, "answer": " 2 "}),
        ({"answer_is": "letter"}, {"question": EXPECTED.text, "options": list(GASES), "answer": "B"}),
        ({"answer_is": "text"}, {"question": EXPECTED.text, "options": list(GASES), "answer": "carbon dioxide"}),
        (
            {"question": "stem", "options": "choices.text", "labels": "choices.label", "answer_is": "label"},
            {"stem": EXPECTED.text, "choices": {"text": list(GASES), "label": ["1", "2", "3"]}, "answer": "2"},
        ),
        (
            {"question": "q.stem", "options": "q.choices.text", "labels": "q.choices.label", "answer_is": "label"},
            {
                "q": {"stem": EXPECTED.text, "choices": [{"text": t, "label": i} for i, t in enumerate(GASES)]},
                "answer": 1,
            },
        ),
        (
            {"options": ["op a", "op b", "op c", "op d"], "answer": "cop"},
            {
                "question": EXPECTED.text,
                "op a": GASES[0],
                "op b": GASES[1],
                "op c": GASES[2],
                "op d": "",
                "cop": 1,
            },
        ),
        ({"question": "a.b"}, {"a.b": EXPECTED.text, "options": list(GASES), "answer": 1}),
    ],
)
def test_the_layouts_of_public_tables_are_mapped(columns: dict[str, Any], row: dict[str, Any]) -> None:
    mapping = Columns.model_validate({**columns, "options": _tuple(columns.get("options", "options"))})
    assert question_from_row(mapping, "x", row) == EXPECTED


def _tuple(options: Any) -> Any:
    return tuple(options) if isinstance(options, list) else options


def test_id_context_and_subject_are_optional_columns() -> None:
    row = {"question": "Why?", "options": ["a", "b"], "answer": 0, "key": 7, "passage": "Because.", "topic": ""}
    found = question_from_row(Columns(id="key", context="passage", subject="topic"), "x", row)
    assert (found.id, found.context, found.subject) == ("7", "Because.", None)


@pytest.mark.parametrize(
    ("columns", "row", "message"),
    [
        ({}, {"answer": 2.5}, "answer: must be a whole number, not 2.5"),
        ({}, {"answer": True}, "answer: must be a whole number, not True"),
        ({}, {"answer": 9}, "answer"),
        ({}, {"options": "a, b"}, "options: column 'options' must have a list, not 'a, b'"),
        ({"answer_is": "letter"}, {"answer": "D"}, "answer: must be one of 'A', 'B', not 'D'"),
        ({"answer_is": "text"}, {"answer": "d"}, "answer: must be one of 'a', 'b', not 'd'"),
    ],
)
def test_a_row_that_is_no_question_is_named(columns: Any, row: dict[str, Any], message: str) -> None:
    whole = {"question": "Which?", "options": ["a", "b"], "answer": 0, **row}
    with pytest.raises(QuestionError) as caught:
        question_from_row(Columns(**columns), "x", whole)
    assert message in f"{caught.value.field}: {caught.value}"


def test_a_missing_column_is_named_as_in_the_mapping() -> None:
    with pytest.raises(KeyError, match=r"'choices\.text'"):
        question_from_row(Columns(options="choices.text"), "x", {"choices": {"label": []}, "answer": 0})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer_is": "label"}, "labels must be given if answer_is is 'label'"),
        ({"labels": "names"}, "and only then"),
        ({"options": ("a",)}, "two columns at least"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Columns(**fields)
