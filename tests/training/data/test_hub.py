"""Public data sets: rows in the schemas of the hub, and files read by the same library."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from uq4ct.model_store.questions import Question, QuestionError
from uq4ct.training.data import hub
from uq4ct.training.data.config import HubData, HubSet
from uq4ct.training.data.hub_sets import HUB_SETS
from uq4ct.training.data.source import DataError

OPENBOOKQA = {
    "id": "7-980",
    "question_stem": "The sun is responsible for",
    "choices": {"text": ["puppies", "children", "wilting", "sprouting plants"], "label": ["A", "B", "C", "D"]},
    "answerKey": "D",
}
ARC_DIGITS = {
    "id": "NYSEDREGENTS_2015_4_8",
    "question": "Which gas do plants take in?",
    "choices": {"text": ["oxygen", "carbon dioxide", "helium"], "label": ["1", "2", "3"]},
    "answerKey": "2",
}
ARC_FIVE = {
    "id": "Mercury_1",
    "question": "Which is a metal?",
    "choices": {"text": ["wood", "glass", "wool", "wax", "iron"], "label": ["A", "B", "C", "D", "E"]},
    "answerKey": "E",
}
BOOLQ = {"question": "is the sky blue", "answer": True, "passage": "The sky is blue by day."}
MMLU = {
    "question": "What is a stack?",
    "subject": "college_computer_science",
    "choices": ["a list", "a tree", "a last-in first-out store", "a hash"],
    "answer": 2,
}
COMMONSENSEQA = {
    "id": "075e",
    "question": "Where would you keep milk?",
    "question_concept": "milk",
    "choices": {"label": ["A", "B", "C", "D", "E"], "text": ["shed", "refrigerator", "attic", "car", "sock"]},
    "answerKey": "B",
}


@pytest.mark.parametrize(
    ("dataset", "row", "expected"),
    [
        (
            "openbookqa",
            OPENBOOKQA,
            Question(
                "x",
                "The sun is responsible for",
                ("puppies", "children", "wilting", "sprouting plants"),
                None,
                3,
            ),
        ),
        (
            "arc_easy",
            ARC_DIGITS,
            Question("x", "Which gas do plants take in?", ("oxygen", "carbon dioxide", "helium"), None, 1),
        ),
        (
            "arc_challenge",
            ARC_FIVE,
            Question("x", "Which is a metal?", ("wood", "glass", "wool", "wax", "iron"), None, 4),
        ),
        ("boolq", BOOLQ, Question("x", "is the sky blue", ("false", "true"), "The sky is blue by day.", 1)),
        (
            "mmlu_cs",
            MMLU,
            Question(
                "x",
                "What is a stack?",
                ("a list", "a tree", "a last-in first-out store", "a hash"),
                None,
                2,
                "college_computer_science",
            ),
        ),
        (
            "commonsenseqa",
            COMMONSENSEQA,
            Question("x", "Where would you keep milk?", ("shed", "refrigerator", "attic", "car", "sock"), None, 1),
        ),
    ],
)
def test_rows_become_questions(dataset: str, row: dict[str, Any], expected: Question) -> None:
    assert HUB_SETS[dataset].convert("x", row) == expected


def test_a_false_passage_question_has_the_first_option() -> None:
    assert HUB_SETS["boolq"].convert("x", {**BOOLQ, "answer": False}).answer == 0
    with pytest.raises(QuestionError, match="must be true or false, not 'yes'"):
        HUB_SETS["boolq"].convert("x", {**BOOLQ, "answer": "yes"})


def test_a_key_that_is_no_label_is_an_error() -> None:
    with pytest.raises(QuestionError, match="'' is not one of the labels"):
        HUB_SETS["commonsenseqa"].convert("x", {**COMMONSENSEQA, "answerKey": ""})


def test_the_groups_are_those_of_the_paper() -> None:
    sizes = {name: len(source.names) for name, source in HUB_SETS.items() if name.startswith("mmlu_")}
    assert sizes == {"mmlu_cs": 4, "mmlu_eng": 1, "mmlu_law": 3, "mmlu_health": 7}
    subjects = [name for key in sizes for name in HUB_SETS[key].names]
    assert len(set(subjects)) == 15


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[tuple, list[dict]]], Any]:
    """Make a loader that reads the given rows with the real library, from files instead of the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    from datasets import load_dataset

    def serve(rows: dict[tuple, list[dict]]) -> Any:
        calls: list[tuple] = []

        def load_rows(path: str, name: str | None, split: str, revision: str) -> Iterable[Any]:
            calls.append((path, name, split, revision))
            file = tmp_path / f"{len(calls)}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows[path, name, split]), encoding="utf-8")
            return load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))

        load_rows.calls = calls  # type: ignore[attr-defined]
        return load_rows

    return serve


def test_a_set_with_its_own_calibration_split_and_a_shift_set(local_hub) -> None:
    load_rows = local_hub(
        {
            ("allenai/openbookqa", "main", "train"): [OPENBOOKQA] * 3,
            ("allenai/openbookqa", "main", "validation"): [OPENBOOKQA],
            ("allenai/openbookqa", "main", "test"): [OPENBOOKQA] * 2,
            ("allenai/ai2_arc", "ARC-Challenge", "test"): [ARC_FIVE, ARC_DIGITS],
        }
    )
    config = HubData(dataset="openbookqa", revision="abc", shift=(HubSet(dataset="arc_challenge", revision="def"),))
    splits = hub.load(config, load_rows)
    assert [question.id for question in splits.train] == [f"openbookqa-train-{number}" for number in range(3)]
    assert [question.id for question in splits.calibration] == ["openbookqa-validation-0"]
    assert [question.answer for question in splits.test] == [3, 3]
    assert [len(question.options) for question in splits.shift["arc_challenge"]] == [5, 3]
    assert {call[0]: call[3] for call in load_rows.calls} == {"allenai/openbookqa": "abc", "allenai/ai2_arc": "def"}


def test_a_set_tested_on_validation_calibrates_on_test() -> None:
    def load_rows(path: str, name: str | None, split: str, revision: str) -> list[dict[str, Any]]:
        return [{**OPENBOOKQA, "question_stem": f"Which {split}?"}] if path == "allenai/openbookqa" else [ARC_FIVE]

    shift = (HubSet(dataset="arc_easy", test="validation"), HubSet(dataset="arc_challenge"))
    splits = hub.load(HubData(dataset="openbookqa", test="validation", shift=shift), load_rows)
    parts = (splits.train, splits.calibration, splits.test)
    assert [part[0].text for part in parts] == ["Which train?", "Which test?", "Which validation?"]
    assert splits.shift["arc_easy"][0].id == "arc_easy-validation-0"
    assert splits.shift["arc_challenge"][0].id == "arc_challenge-test-0"


def test_a_split_without_public_answers_cannot_be_the_test_split() -> None:
    assert HubData(dataset="boolq", test="validation", calibration_share=0.05).test == "validation"
    with pytest.raises(ValueError, match="test 'test' must be a split with public answers: validation"):
        HubData(dataset="boolq", test="test")


def test_subjects_are_read_one_after_the_other(local_hub) -> None:
    law = ("international_law", "jurisprudence", "professional_law")
    load_rows = local_hub(
        {
            ("cais/mmlu", name, split): [{**MMLU, "subject": name}]
            for name in law
            for split in ("dev", "validation", "test")
        }
    )
    splits = hub.load(HubData(dataset="mmlu_law"), load_rows)
    assert [question.subject for question in splits.test] == list(law)
    assert [question.id for question in splits.test] == [f"mmlu_law-test-{number}" for number in range(3)]


def test_a_set_without_calibration_split_is_carved(local_hub) -> None:
    load_rows = local_hub(
        {
            ("google/boolq", None, "train"): [{**BOOLQ, "question": f"is it {number}"} for number in range(200)],
            ("google/boolq", None, "validation"): [BOOLQ],
        }
    )
    splits = hub.load(HubData(dataset="boolq", calibration_share=0.5), load_rows)
    assert len(splits.train) + len(splits.calibration) == 200
    assert 70 < len(splits.calibration) < 130
    assert [question.id for question in splits.test] == ["boolq-validation-0"]


def test_rows_that_are_no_questions_are_left_out_and_told() -> None:
    repeated = {**MMLU, "choices": ["a", "a", "b", "c"]}
    splits = hub.load(HubData(dataset="mmlu_eng"), lambda *_: [MMLU, repeated])
    assert [question.id for question in splits.test] == ["mmlu_eng-test-0"]
    assert len(splits.messages) == 3
    assert splits.messages[2].startswith("mmlu_eng, test: 1 rows are not valid questions and were left out, such as")


def test_a_row_of_another_schema_is_named_with_its_columns() -> None:
    with pytest.raises(DataError, match=r"mmlu_eng-dev-0: the row has no column 'choices', it has \['question'\]"):
        hub.load(HubData(dataset="mmlu_eng"), lambda *_: [{"question": "What?"}])


def test_an_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match=r"ConnectionError: no route.*export the data set to JSONL.*source: jsonl"):
        hub.load(HubData(dataset="openbookqa"))


def test_the_hub_is_asked_for_the_configured_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def serve(path: str, name: str | None, *, split: str, revision: str) -> list[dict[str, Any]]:
        assert (path, name, revision) == ("allenai/ai2_arc", "ARC-Easy", "abc")
        return [{**ARC_DIGITS, "question": f"Which {split}?"}]

    monkeypatch.setattr(datasets, "load_dataset", serve)
    splits = hub.load(HubData(dataset="arc_easy", revision="abc"))
    assert [splits.train[0].text, splits.calibration[0].text, splits.test[0].text] == [
        "Which train?",
        "Which validation?",
        "Which test?",
    ]
