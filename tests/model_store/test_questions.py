from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pauses import longest_pause_share
from uq4ct.model_store.questions import LABELS, Question, QuestionError, normalise_option

RECORD = {
    "id": "q1",
    "question": "Which?",
    "options": ["red", "blue"],
    "context": "Colours.",
    "answer": 1,
    "subject": "art",
}
BREAKS = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def test_a_record_comes_back_unchanged():
    question = Question.from_record(RECORD)
    assert question == Question("q1", "Which?", ("red", "blue"), "Colours.", 1, "art")
    assert question.to_record() == RECORD
    assert Question.from_record(json.loads(json.dumps(question.to_record()))) == question


def test_context_answer_and_subject_may_be_absent():
    question = Question.from_record({"id": "q1", "question": "Which?", "options": ("red", "blue")})
    assert (question.context, question.answer, question.subject) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"id": 3}, "id", "must be text, not int"),
        ({"question": None}, "question", "must be text, not NoneType"),
        ({"options": "red, blue"}, "options", "must be a list of texts, not str"),
        ({"options": ["red", 2]}, "options.1", "must be text, not int"),
        ({"context": 1}, "context", "must be text, not int"),
        ({"answer": "1"}, "answer", "must be the index of the right option, not '1'"),
        ({"answer": True}, "answer", "not True"),
        ({"answer": 1.0}, "answer", "not 1.0"),
        ({"answer": 2}, "answer", "2 is not the index of one of 2 options"),
        ({"answer": -1}, "answer", "-1 is not the index of one of 2 options"),
        ({"colour": "red"}, "colour", "is not a field of a question"),
        ({"question": " \n\t"}, "question", "is empty"),
        ({"question": "\x00\u200b\u2028"}, "question", "is empty"),
        ({"question": "a\ud800"}, "question", "character 1 is a lone surrogate"),
        ({"context": "\udfff"}, "context", "character 0 is a lone surrogate"),
        ({"options": ["red", "b\ud800"]}, "options.1", "lone surrogate"),
        ({"options": ["red"]}, "options", "must have between 2 and 26 entries, not 1"),
        ({"options": [str(n) for n in range(27)]}, "options", "entries, not 27"),
        ({"options": ["red", " \r\n"]}, "options.1", "is empty"),
        ({"options": ["\u200b\u200d", "red"]}, "options.0", "is empty"),
        ({"options": ["red", "blue", " red\n"]}, "options.2", "'red' is the same as option 0"),
        ({"options": ["dark  red", "dark\x00red"]}, "options.1", "the same as option 0"),
    ],
)
def test_what_cannot_be_asked_is_named(change, field, message):
    with pytest.raises(QuestionError) as caught:
        Question.from_record({**RECORD, "answer": None, **change})
    assert caught.value.field == field
    assert message in caught.value.message
    assert str(caught.value) == f"{field}: {caught.value.message}"


@pytest.mark.parametrize("key", ["id", "question", "options"])
def test_a_missing_key_is_named(key):
    with pytest.raises(QuestionError, match=f"{key}: is missing"):
        Question.from_record({name: value for name, value in RECORD.items() if name != key})


def test_there_is_a_label_for_each_of_26_options():
    options = tuple(str(number) for number in range(26))
    assert len(Question("q", "Which?", options, answer=25).options) == len(LABELS) == len(set(LABELS))


@pytest.mark.parametrize("line_break", BREAKS)
def test_an_option_stands_on_one_line(line_break):
    assert normalise_option(f" red{line_break}B. blue ") == "red B. blue"


@given(st.text())
def test_a_normalised_option_stays_as_it_is_and_on_its_line(option):
    shown = normalise_option(option)
    assert normalise_option(shown) == shown
    assert len(shown.splitlines()) <= 1
    assert shown == shown.strip()
    assert "  " not in shown


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "S", "M")), min_size=1))
def test_visible_characters_are_kept(option):
    assert normalise_option(option) == option


@given(st.text(min_size=1, max_size=50))
def test_a_long_option_is_normalised_like_a_short_one(text):
    times, shown = 10_000 // len(text) + 1, normalise_option(text)
    assert normalise_option(f"{text} " * times) == " ".join([shown] * times if shown else [])


def test_other_threads_run_while_a_long_question_is_checked():
    option = "option " * 1_000_000
    assert longest_pause_share(lambda: Question("q", option, ("a", option))) < 0.25
