"""From a configuration to splits, through the sources."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from uq4ct.training.data import facts
from uq4ct.training.data.config import CsvData, DataConfig, FactsData, HubData, JsonlData
from uq4ct.training.data.loading import load_splits
from uq4ct.training.data.source import DataError
from uq4ct.training.data.sources import SOURCES

CONFIG: TypeAdapter[DataConfig] = TypeAdapter(DataConfig)


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"source": "facts", "seed": 3}, FactsData),
        ({"source": "jsonl", "train": "a", "test": "b", "shift": {"far": "c"}}, JsonlData),
        ({"source": "csv", "train": "a", "test": "b", "calibration": "c", "test_limit": 5}, CsvData),
        ({"source": "hub", "dataset": "boolq", "shift": [{"dataset": "arc_easy"}]}, HubData),
    ],
)
def test_each_source_is_bound_by_its_name(record: Mapping[str, Any], kind: type) -> None:
    config = CONFIG.validate_python(record)
    assert type(config) is kind
    assert CONFIG.validate_json(CONFIG.dump_json(config)) == config
    assert config.source in SOURCES


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"source": "web"}, "web"),
        ({"source": "facts", "calibration_share": 0.1}, "calibration_share"),
        (
            {"source": "jsonl", "train": "a", "test": "b", "calibration": "c", "calibration_share": 0.3},
            "0.3 has no eff",
        ),
        ({"source": "hub", "dataset": "openbookqa", "calibration_share": 0.3}, "0.3 has no effect: openbookqa"),
        ({"source": "hub", "dataset": "trivia"}, "dataset 'trivia' is not one of openbookqa"),
        ({"source": "hub", "dataset": "boolq", "shift": [{"dataset": "boolq"}]}, "the trained one, boolq"),
        ({"source": "facts", "train_limit": 0}, "train_limit"),
        ({"source": "facts", "calibration_limit": 1}, "calibration_limit"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(record: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        CONFIG.validate_python(record)


@pytest.mark.slow
def test_the_facts_quiz_is_loaded_whole() -> None:
    splits, messages = load_splits(FactsData())
    quiz = facts.build()
    assert messages == ()
    assert splits.train == quiz.train
    assert splits.test == quiz.test
    assert sorted((*splits.fit, *splits.guarantee), key=lambda q: q.id) == sorted(quiz.calibration, key=lambda q: q.id)
    assert set(splits.shift) == set(facts.SHIFT_SUBJECTS)
    assert sum(map(len, splits.shift.values())) == len(quiz.shift)


def test_limits_keep_the_same_questions_when_they_grow(write_jsonl, ask) -> None:
    paths: dict[str, Any] = {
        split: str(write_jsonl(f"{split}.jsonl", [ask(f"{split}-{n}") for n in range(60)]))
        for split in ("train", "calibration", "test")
    }
    far = str(write_jsonl("far.jsonl", [ask(f"far-{n}") for n in range(60)]))
    drawn = []
    for limit in (5, 9):
        config = JsonlData(**paths, shift={"far": far}, train_limit=limit, calibration_limit=limit, test_limit=limit)
        splits, _ = load_splits(config)
        assert [len(splits.train), len(splits.test), len(splits.shift["far"])] == [limit] * 3
        assert [len(splits.fit), len(splits.guarantee)] == [(limit + 1) // 2, limit // 2]
        numbers = [int(question.id.split("-")[1]) for question in splits.train]
        assert numbers == sorted(numbers)
        assert numbers != list(range(limit))
        drawn.append({question.id for _, questions in splits.named() for question in questions})
    assert drawn[0] < drawn[1]


def test_leaks_into_test_are_removed_before_the_test_is_limited(write_jsonl, ask) -> None:
    test = [ask(f"test-{n}", f"Question {n}?") for n in range(20)]
    train = [ask(f"train-{n}", f"question  {n}") for n in range(200)]
    config = JsonlData(
        train=str(write_jsonl("train.jsonl", train)), test=str(write_jsonl("test.jsonl", test)), test_limit=3
    )
    splits, messages = load_splits(config)
    assert len(splits.test) == 3
    texts = {question.text for question in (*splits.train, *splits.fit, *splits.guarantee)}
    assert not texts & {f"question  {n}" for n in range(20)}
    assert sum(int(message.split()[0]) for message in messages) == 20


def test_questions_left_out_of_files_are_told(tmp_path, write_jsonl, ask) -> None:
    train = write_jsonl("train.jsonl", [ask(f"train-{n}") for n in range(60)])
    with train.open("a") as stream:
        stream.write('{"id": "x", "question": "Which?", "options": ["a", "a"], "answer": 0}\n')
    test = write_jsonl("test.jsonl", [ask("test-0")])
    _, messages = load_splits(JsonlData(train=str(train), test=str(test)))
    assert messages == (f"1 of 61 questions left out of {train} because an option occurs twice: line 61",)


def test_an_empty_split_is_an_error(write_jsonl, ask) -> None:
    train = write_jsonl("train.jsonl", [ask(f"train-{n}") for n in range(60)])
    with pytest.raises(DataError, match="the split test is empty"):
        load_splits(JsonlData(train=str(train), test=str(write_jsonl("test.jsonl", []))))


def test_a_question_without_answer_is_an_error(write_jsonl, ask) -> None:
    train = write_jsonl("train.jsonl", [ask(f"train-{n}") for n in range(60)])
    test = write_jsonl("test.jsonl", [ask("test-0", answer=None)])
    with pytest.raises(DataError, match="test: the question 'test-0' has no answer"):
        load_splits(JsonlData(train=str(train), test=str(test)))


def test_csv_files_are_a_source_too(tmp_path) -> None:
    header = "id,question,option_1,option_2,answer\n"
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text(header + "".join(f"train-{n},Is it {n}?,yes,no,1\n" for n in range(60)))
    test.write_text(header + "test-0,Is it so?,yes,no,2\n")
    splits, _ = load_splits(CsvData(train=str(train), test=str(test), calibration_share=0.5))
    assert [question.answer for question in splits.test] == [1]
    assert len(splits.train) + len(splits.fit) + len(splits.guarantee) == 60
