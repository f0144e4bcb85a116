"""A table of questions is the sequence of the questions that were packed, in little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uq4ct.model_store.question_table import pack_questions
from uq4ct.model_store.questions import Question

TEXTS = st.text(min_size=1, max_size=8).map(lambda text: f"{text.encode(errors='replace').decode()}?")
QUESTIONS = st.builds(
    Question,
    id=st.text(st.characters(exclude_categories=()), max_size=5),  # also lone surrogates, which JSON can hold
    text=TEXTS,
    options=st.just(("a", "ﬁsh", "c d")),
    context=st.none() | st.just("") | TEXTS,
    answer=st.none() | st.integers(0, 2),
    subject=st.none() | st.text(max_size=3),
)


@settings(max_examples=50)
@given(st.lists(QUESTIONS, max_size=8), st.data())
def test_a_table_is_the_sequence_of_its_questions(questions: list[Question], data: st.DataObject) -> None:
    table = pack_questions(iter(questions))
    assert list(table) == questions
    assert [table[index] for index in range(-len(table), len(table))] == questions * 2
    assert table == questions
    assert table == tuple(questions)
    assert table[::-2] == questions[::-2]
    chosen = data.draw(st.lists(st.integers(0, len(questions) - 1), max_size=9)) if questions else []
    assert list(table.select(chosen)) == [questions[index] for index in chosen]
    assert list(table.select(chosen).select(range(len(chosen)))) == [questions[index] for index in chosen]
    assert table != [*questions, Question("more", "Really?", ("yes", "no"))]
    with pytest.raises(IndexError):
        table[len(questions)]


def test_tables_differ_if_a_question_does() -> None:
    one, other = (pack_questions([Question("a", "Really?", ("yes", "no"), answer=answer)]) for answer in (0, 1))
    assert one != other
    assert one != "a"


def test_an_answer_from_numpy_is_the_same_number() -> None:
    question = Question("a", "Really?", ("yes", "no"), answer=np.int64(1))  # pyright: ignore[reportArgumentType]
    (packed,) = pack_questions([question])
    assert packed == question
    assert type(packed.answer) is int


def test_a_question_takes_its_texts_and_a_few_bytes() -> None:
    question = Question("question-12345", "What is the capital of France?", ("Oslo", "Paris", "Rome"), answer=1)
    count = 10_000
    tracemalloc.start()
    try:
        table = pack_questions([question] * count)
        taken, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    texts = len(table) * (len(question.id) + question.characters)
    assert texts < taken < 1.3 * texts + 40 * count
    assert most < 1.6 * texts + 50 * count
