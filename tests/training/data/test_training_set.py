"""Training questions in compact arrays are the questions that were put in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uq4ct.model_store.token_batch import EncodedQuestion
from uq4ct.training.data import training_set
from uq4ct.training.data.batches import TrainingQuestion
from uq4ct.training.data.training_set import TrainingSet

TOKENS = st.integers(0, 2**31 - 1)
ROWS = st.lists(st.tuples(TOKENS, TOKENS, st.integers(-1, 26), st.booleans()), min_size=1, max_size=8)


@st.composite
def training_questions(draw: st.DrawFn) -> TrainingQuestion:
    tokens, positions, branches, is_option = zip(*draw(ROWS), strict=True)
    encoded = EncodedQuestion(tokens, positions, branches, is_option, draw(st.integers(2, 26)))
    return TrainingQuestion(encoded, draw(st.integers(0, 25)), draw(st.booleans()))


@settings(max_examples=30)
@given(st.lists(training_questions(), max_size=8))
def test_a_set_gives_back_its_questions(questions: list[TrainingQuestion]) -> None:
    kept = TrainingSet(iter(questions))
    assert len(kept) == len(questions)
    assert list(kept) == questions
    assert [kept[index] for index in range(-len(kept), len(kept))] == questions * 2
    assert kept[1::2] == questions[1::2]
    assert list(kept.encoded) == [question.encoded for question in questions]
    assert kept.encoded[:2] == [question.encoded for question in questions[:2]]
    assert list(kept.lengths) == [question.encoded.length for question in questions]
    assert list(map(bool, kept.held_out)) == [question.held_out for question in questions]
    with pytest.raises(IndexError):
        kept[len(questions)]


def test_tokens_are_written_in_blocks_to_a_file_that_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_set, "_AT_ONCE", 64)
    questions = [
        TrainingQuestion(EncodedQuestion((n, n + 1), (0, 1), (0, 1), (False, True), 2), n % 2) for n in range(500)
    ]
    kept = TrainingSet(questions, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert list(kept) == questions
