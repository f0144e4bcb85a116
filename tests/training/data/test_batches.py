"""The order of training questions: complete, determined by seed and epoch, and of similar length."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.token_batch import EncodedQuestion
from uq4ct.training.data.batches import TrainingQuestion, count_steps, epoch_steps, forwards


def question(index: int, length: int, held_out: bool = False) -> TrainingQuestion:
    tokens = tuple([index] * length)
    encoded = EncodedQuestion(tokens, tuple(range(length)), (0,) * length, (False,) * length, 2 + index % 3)
    return TrainingQuestion(encoded, index % 2, held_out)


def steps_of(questions: list[TrainingQuestion], size: int, seed: int, epoch: int) -> list[list[TrainingQuestion]]:
    lengths = [item.encoded.length for item in questions]
    steps = epoch_steps(lengths, [item.held_out for item in questions], size, seed, epoch)
    return [[questions[index] for index in step] for step in steps]


@st.composite
def training_sets(draw: st.DrawFn) -> list[TrainingQuestion]:
    count = draw(st.integers(1, 60))
    lengths = draw(st.lists(st.integers(1, 30), min_size=count, max_size=count))
    held_out = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    held_out[0] = False  # at least one question is trained on
    return [question(index, length, held) for index, (length, held) in enumerate(zip(lengths, held_out, strict=True))]


@given(training_sets(), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_every_question_stands_in_one_step(questions: list[TrainingQuestion], size: int, seed: int, epoch: int) -> None:
    steps = steps_of(questions, size, seed, epoch)
    seen = Counter(item.encoded.tokens[0] for step in steps for item in step)
    assert seen == Counter(range(len(questions)))
    assert steps == steps_of(questions, size, seed, epoch)
    trained = [sum(not item.held_out for item in step) for step in steps]
    assert all(0 < count <= size for count in trained)
    held_out = [sum(item.held_out for item in step) for step in steps]
    assert max(held_out) - min(held_out) <= 1
    assert count_steps([item.held_out for item in questions], size) == len(steps)


@given(training_sets(), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_the_order_is_that_of_shuffled_questions(
    questions: list[TrainingQuestion], size: int, seed: int, epoch: int
) -> None:
    """A second implementation that shuffles the questions themselves."""
    order = random.Random(f"{seed}/{epoch}")
    trained = [item for item in questions if not item.held_out]
    held_out = [item for item in questions if item.held_out]
    order.shuffle(trained)
    order.shuffle(held_out)
    steps = []
    for start in range(0, len(trained), 8 * size):
        bucket = sorted(trained[start : start + 8 * size], key=lambda item: item.encoded.length)
        steps += [bucket[first : first + size] for first in range(0, len(bucket), size)]
    order.shuffle(steps)
    expected = [[*step, *held_out[index :: len(steps)]] for index, step in enumerate(steps)]
    assert steps_of(questions, size, seed, epoch) == expected


@given(training_sets(), st.integers(1, 9), st.integers(1, 4))
def test_the_forwards_of_a_step_are_its_questions(
    questions: list[TrainingQuestion], size: int, accumulation: int
) -> None:
    for step in steps_of(questions, size, 0, 0):
        parts = list(forwards(step, accumulation))
        assert len(parts) <= accumulation
        assert sum(len(part.answers) for part in parts) == len(step)
        assert sum(part.step_share for part in parts) == 1 or abs(sum(part.step_share for part in parts) - 1) < 1e-12
        held_out = sum(int(part.held_out.sum()) for part in parts)
        assert {(part.step_trained, part.step_held_out) for part in parts} == {(len(step) - held_out, held_out)}


@given(training_sets(), st.integers(1, 4), st.integers(1, 200))
def test_a_forward_has_few_tokens_unless_one_question_has_more(
    questions: list[TrainingQuestion], accumulation: int, most: int
) -> None:
    parts = list(forwards(questions, accumulation, most))
    for part in parts:
        assert int(part.tokens.real.sum()) <= most or len(part.answers) == 1
    assert sorted(int(tokens) for part in parts for tokens in part.tokens.tokens[:, 0]) == sorted(
        question.encoded.tokens[0] for question in questions
    )
    assert {part.step_trained + part.step_held_out for part in parts} == {len(questions)}


def test_epochs_and_seeds_differ() -> None:
    questions = [question(index, 5) for index in range(64)]
    orders = {
        (seed, epoch): tuple(item.encoded.tokens[0] for step in steps_of(questions, 4, seed, epoch) for item in step)
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4


def test_buckets_leave_little_padding() -> None:
    questions = [question(index, 1 + (index * 37) % 100) for index in range(512)]
    padded = real = 0
    for step in steps_of(questions, 8, 0, 0):
        longest = max(item.encoded.length for item in step)
        padded += longest * len(step)
        real += sum(item.encoded.length for item in step)
    assert real / padded > 0.85
