from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.questions import Question
from uq4ct.training.data.same_question import normalise_question
from uq4ct.training.data.source import DataError
from uq4ct.training.data.splits import (
    Splits,
    carve_calibration,
    divide_calibration,
    remove_leaks,
)

texts = st.text(alphabet="abcdefgh", min_size=1, max_size=2)  # short, so that splits share questions
splits_of_texts = st.lists(texts, max_size=12)


def make(split: str, texts: list[str]) -> tuple[Question, ...]:
    return tuple(
        Question(id=f"{split}-{number}", text=text, options=(f"{split} yes", "no"), answer=0)
        for number, text in enumerate(texts)
    )


def disguise(text: str) -> str:
    return f"  “{text.upper()}” ?\n"


@given(splits_of_texts, splits_of_texts, splits_of_texts, splits_of_texts, splits_of_texts)
def test_no_question_is_left_in_two_splits(
    train: list[str], fit: list[str], guarantee: list[str], test: list[str], shift: list[str]
) -> None:
    given_test = make("test", [disguise(text) for text in test])
    given_shift = {"far": make("far", shift)}
    splits, messages = remove_leaks(
        make("train", train), make("fit", fit), make("guarantee", guarantee), given_test, given_shift
    )
    assert splits.test == given_test
    assert splits.shift == given_shift
    evaluated = set(test) | set(shift)
    assert [question.text for question in splits.guarantee] == [text for text in guarantee if text not in evaluated]
    assert [question.text for question in splits.fit] == [
        text for text in fit if text not in evaluated | set(guarantee)
    ]
    assert [question.text for question in splits.train] == [
        text for text in train if text not in evaluated | set(guarantee) | set(fit)
    ]
    removed = len(train) + len(fit) + len(guarantee) - len(splits.train) - len(splits.fit) - len(splits.guarantee)
    assert sum(int(message.split()[0]) for message in messages) == removed


def test_a_removal_is_told() -> None:
    train = make("train", ["a", "b", "c", "d", "e", "z"])
    test = make("test", ["A", "b?", "c.", "d", "e"])
    _, messages = remove_leaks(train, make("fit", ["y"]), make("guarantee", ["x"]), test)
    assert messages == (
        "5 of 6 questions removed from train because they also occur in test: train-0, train-1, train-2, ...",
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Is water wet?", "is  water\twet", True),
        ("It's “so”", "its so", True),
        ("a climate-resilient city", "a climate resilient city", True),
        ("mm yr–1", "mm yr -1", True),
        ("fitness (as used)", "fitness(as used)", True),
        ("ﬁre", "fire", True),
        ("STRASSE", "straße", True),
        ("What is 2*3?", "What is 2/3?", False),
        ("What is 2+3?", "What is 2-3?", False),
        ("1.5 metres", "15 metres", False),
        ("???", "!!!", False),
    ],
)
def test_questions_are_compared_without_case_spacing_and_punctuation(one: str, other: str, same: bool, ask) -> None:
    assert (normalise_question(ask("a", one)) == normalise_question(ask("b", other))) is same


def _normalise(text: str) -> str:
    """Character by character."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    dashed = "".join("-" if unicodedata.category(char) == "Pd" else char for char in folded)
    plain = re.sub(r"(?<=[^\W\d])-(?=[^\W\d])|(?<!\d)\.|\.(?!\d)", "", dashed)
    kept = [char for char in plain if char in "-*/%&#@\\." or unicodedata.category(char)[0] not in "CPZ"]
    return "".join(kept) or "".join(folded.split())


@given(st.text(st.sampled_from("aB1-–.*/\\%&#@ ?ﬁß\n\u200b²") | st.characters(exclude_categories=["Cs"]), max_size=20))
def test_questions_are_normalised_as_character_by_character(text: str) -> None:
    asked = Question(id="a", text=f"Q{text}", options=("a", "b"), context=text)
    assert normalise_question(asked) == f"{_normalise(asked.text)}\n{_normalise(text)}"


def test_the_same_question_about_another_passage_is_another_question(ask) -> None:
    train = (ask("a", "Is it so?", context="One passage."),)
    test = (ask("b", "Is it so?", context="Another passage."),)
    splits, messages = remove_leaks(train, (), (), test)
    assert splits.train == train
    assert messages == ()


def test_a_question_without_an_answer_is_an_error(ask) -> None:
    with pytest.raises(DataError, match="fit: the question 'lost' has no answer"):
        remove_leaks((ask("a"),), (ask("lost", answer=None),), (), ())


def test_an_id_that_stands_twice_is_an_error(ask) -> None:
    with pytest.raises(DataError, match="test: the id 'a' already occurs in train"):
        remove_leaks((ask("a"),), (), (), (ask("a", "Something else?"),))


@given(st.lists(st.text(min_size=1), unique=True), st.randoms())
def test_the_calibration_split_is_divided_by_id_alone(ids: list[str], random) -> None:
    questions = [Question(id=name, text=f"Q {number}?", options=("a", "b")) for number, name in enumerate(ids)]
    fit, guarantee = divide_calibration(questions)
    assert sorted((*fit, *guarantee), key=lambda question: question.id) == sorted(questions, key=lambda q: q.id)
    mixed = questions.copy()
    random.shuffle(mixed)
    again, _ = divide_calibration(mixed[: len(mixed) // 2])
    assert set(again) <= set(fit)


def test_the_calibration_split_is_divided_in_halves_that_stay(ask) -> None:
    fit, guarantee = divide_calibration(ask(f"question-{number}") for number in range(2000))
    assert len(fit) == pytest.approx(1000, abs=3.3 * 500**0.5)  # 3.3 standard deviations of the binomial
    # By hand: sha256("fit\x1fquestion-0") and its neighbours, first 53 bits below one half.
    expected = [number for number in range(20) if sha256(f"fit\x1fquestion-{number}".encode()).digest()[0] < 128]
    assert [question.id for question in fit][: len(expected)] == [f"question-{number}" for number in expected]
    assert not set(fit) & set(guarantee)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_calibration_is_carved_out_of_train_by_its_share(share: float, ask) -> None:
    questions = tuple(ask(f"question-{number}") for number in range(3000))
    train, calibration = carve_calibration(questions, share)
    assert sorted(question.id for question in (*train, *calibration)) == sorted(question.id for question in questions)
    assert len(calibration) == pytest.approx(3000 * share, abs=3.3 * (3000 * share * (1 - share)) ** 0.5)


def test_carving_and_dividing_are_independent(ask) -> None:
    _, calibration = carve_calibration((ask(f"question-{number}") for number in range(4000)), 0.2)
    fit, guarantee = divide_calibration(calibration)
    assert min(len(fit), len(guarantee)) > 0.4 * len(calibration)


def test_the_digest_is_that_of_the_records_in_order(ask) -> None:
    splits = Splits((ask("a"),), (ask("b"),), (ask("c"),), (ask("d"),), {"far": (ask("e"),)})
    lines = []
    for name, questions in (
        ("train", splits.train),
        ("fit", splits.fit),
        ("guarantee", splits.guarantee),
        ("test", splits.test),
        ("shift/far", splits.shift["far"]),
    ):
        lines.append(json.dumps([name, 1]))
        lines += [json.dumps(question.to_record(), sort_keys=True) for question in questions]
    assert splits.digest == "sha256:" + sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def test_the_digest_sees_every_change(ask) -> None:
    splits = Splits((ask("a"), ask("b")), (ask("c"),), (ask("d"),), (ask("e"),), {"far": (ask("f"),)})
    changed = [
        dataclasses.replace(splits, train=splits.train[::-1]),
        dataclasses.replace(splits, train=splits.train[:1], fit=(splits.train[1], *splits.fit)),
        dataclasses.replace(splits, test=(dataclasses.replace(splits.test[0], answer=1),)),
        dataclasses.replace(splits, shift={"near": splits.shift["far"]}),
        dataclasses.replace(splits, shift={}),
    ]
    assert len({splits.digest, *(other.digest for other in changed)}) == 6
    assert dataclasses.replace(splits).digest == splits.digest
