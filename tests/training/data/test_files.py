"""JSONL and CSV files: what is read, and how mistakes are reported."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from uq4ct.model_store.question_files import QuestionFileError, read_questions
from uq4ct.model_store.questions import Question
from uq4ct.training.data import jsonl
from uq4ct.training.data.config import JsonlData
from uq4ct.training.data.csv_file import read_csv
from uq4ct.training.data.files import read_splits
from uq4ct.training.data.paths import expand_path, locate_files
from uq4ct.training.data.source import DataError

GOOD = {"id": "a", "question": "Is it?", "context": None, "options": ["yes", "no"], "answer": 1, "subject": "doubt"}


def test_jsonl_round_trip(write_jsonl, ask) -> None:
    questions = (ask("a"), ask("b", "Naïve — or not?", 1, "Ein Satz.\nNoch einer."), ask("c", answer=None))
    found = read_questions(write_jsonl("made.jsonl", questions))
    assert found.questions == questions
    assert found.left_out == ()


def test_jsonl_skips_empty_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text(f"\ufeff{json.dumps(GOOD)}\n\n", encoding="utf-8")
    assert [question.id for question in read_questions(path).questions] == ["a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "invalid JSON"),
        ("[1]", "must be a JSON object, not list"),
        (json.dumps({**GOOD, "answer": 2}), "answer: 2 is not the index of one of 2 options"),
        (json.dumps({**GOOD, "answer": "B"}), "answer: must be the index of the right option, not 'B'"),
        (json.dumps({**GOOD, "choices": []}), "choices: is not a field of a question"),
        (json.dumps({**GOOD, "options": ["yes"]}), "options: must have between 2 and 26 entries, not 1"),
        (json.dumps({**GOOD, "options": ["yes", 1]}), "options.1: must be text, not int"),
        (json.dumps({**GOOD, "options": ["yes", ""]}), "options.1: is empty"),
        (json.dumps({key: value for key, value in GOOD.items() if key != "question"}), "question: is missing"),
    ],
)
def test_jsonl_mistakes_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(QuestionFileError, match=f"{re.escape(str(path))}, line 3: {re.escape(message)}"):
        read_questions(path)


def test_jsonl_questions_with_a_repeated_option_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text("".join(json.dumps({**GOOD, "options": o}) + "\n" for o in (["a", "b"], ["a", "a "])))
    found = read_questions(path)
    assert [question.options for question in found.questions] == [("a", "b")]
    assert found.left_out == ("line 2",)


@pytest.mark.parametrize("read", [read_questions, read_csv])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, read) -> None:
    with pytest.raises(QuestionFileError, match=r"nowhere: cannot be read"):
        read(tmp_path / "nowhere")
    latin = tmp_path / "latin"
    latin.write_bytes("Käse".encode("latin-1"))
    with pytest.raises(QuestionFileError, match=r"latin: cannot be read"):
        read(latin)


@pytest.mark.parametrize("read", [read_questions, read_csv])
@pytest.mark.parametrize("lines", [1, 3, 5000])  # the last is read in another piece than the first
def test_the_line_of_a_byte_that_is_not_utf_8_is_named(tmp_path: Path, read: Any, lines: int) -> None:
    path = tmp_path / "latin.csv"
    rows = ["question,option_1,option_2,answer", *["Is it?,yes,no,1"] * lines]
    if read is read_questions:
        record = {"id": "1", "question": "q?", "options": ["a", "b"], "answer": 0}
        rows = [json.dumps(record | {"id": str(number)}) for number in range(lines + 1)]
    path.write_bytes("\n".join([*rows[:lines], "Käse"]).encode("latin-1"))
    message = f"{path}: cannot be read: line {lines + 1}: byte 0xe4 is not UTF-8: save the file as UTF-8"
    with pytest.raises(QuestionFileError, match=re.escape(message)):
        read(path)


def test_csv_rows_become_questions(tmp_path: Path) -> None:
    path = tmp_path / "climate.csv"
    path.write_text(
        "id,question,context,option_1,option_2,option_3,answer,subject\n"
        'x,"Is CO2, a gas, rising?",Mauna Loa,yes,no,,1,climate\n'
        ",What melts?,,rock,ice,sand,2,\n",
        encoding="utf-8",
    )
    assert read_csv(path).questions == (
        Question("x", "Is CO2, a gas, rising?", ("yes", "no"), "Mauna Loa", 0, "climate"),
        Question("climate-3", "What melts?", ("rock", "ice", "sand"), None, 1, None),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the column question is missing"),
        ("question,option_1,answer\n", "line 1: the column option_2 is missing"),
        ("question,option_1,option_2,option_4,answer\n", "line 1: the option columns"),
        ("question,option_1,option_2,answer,hint\n", "line 1: unknown or repeated columns in ['hint']"),
        ("question,option_1,option_2,answer\nIs it?,yes,no,0\n", "line 2: answer: must be the number of an option"),
        ("question,option_1,option_2,answer\nIs it?,yes,no,A\n", "line 2: answer: must be the number of an option"),
        ("question,option_1,option_2,answer\nIs it?,yes,no,3\n", "line 2: answer: 2 is not the index of one of 2"),
        ("question,option_1,option_2,answer\nIs it?,yes,no\n", "line 2: the number of cells differs"),
        ("question,option_1,option_2,answer\nIs it?,yes,no,1,2\n", "line 2: the number of cells differs"),
        ("question,option_1,option_2,answer\nIs it?,,no,1\n", "line 2: options.0: is empty"),
        ("question,option_1,option_2,answer\n,yes,no,1\n", "line 2: question: is empty"),
        ('question,option_1,option_2,answer\n"Is "it?,yes,no,1\n', "line 2: invalid CSV"),
    ],
)
def test_csv_mistakes_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "made.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(QuestionFileError, match=f"{re.escape(str(path))}, {re.escape(message)}"):
        read_csv(path)


def test_csv_questions_with_a_repeated_option_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    path.write_text("question,option_1,option_2,answer\nIs it?,a,a,1\nIs it?,a,b,1\n")
    found = read_csv(path)
    assert [question.id for question in found.questions] == ["made-3"]
    assert found.left_out == ("line 2",)


def test_environment_variables_in_paths_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/of another program")
    monkeypatch.setenv("UQ4CT_DATA_DIR", "/somewhere")
    monkeypatch.setenv("UQ4CT_SPLIT", "train")
    assert expand_path("${DATA_DIR}/set/${UQ4CT_SPLIT}.jsonl") == Path("/somewhere/set/train.jsonl")
    assert expand_path("plain/$HOME.jsonl") == Path("plain/$HOME.jsonl")


def test_an_unset_variable_in_a_path_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/of another program")
    monkeypatch.delenv("UQ4CT_DATA_DIR", raising=False)
    for name in ("DATA_DIR", "UQ4CT_DATA_DIR"):
        with pytest.raises(DataError, match="the environment variable UQ4CT_DATA_DIR is not set"):
            expand_path(f"${{{name}}}/train.jsonl")


def test_a_file_that_is_missing_below_a_variable_names_the_variable_and_its_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UQ4CT_DATA_DIR", str(tmp_path))
    config = JsonlData(train="${DATA_DIR}/arc/train.jsonl")
    message = (
        f"{tmp_path}/arc/train.jsonl: cannot be read: No such file or directory; ${{DATA_DIR}} is the environment "
        f"variable UQ4CT_DATA_DIR, {str(tmp_path)!r}"
    )
    with pytest.raises(QuestionFileError, match=f"^{re.escape(message)}$"):
        read_splits(config, read_questions)


def test_recipes_call_the_folder_of_questions_by_the_name_of_its_variable() -> None:
    recipes = list(Path(str(resources.files("uq4ct.training.recipes"))).glob("*.yaml"))
    comments = [line for path in recipes for line in path.read_text().splitlines() if line.lstrip().startswith("#")]
    about = [line for line in comments if "DATA_DIR" in line]
    assert len(about) > 10
    assert not [line for line in about if "UQ4CT_DATA_DIR" not in line]


def test_a_line_without_options_is_named(tmp_path: Path) -> None:
    path = tmp_path / "made.jsonl"
    path.write_text('{"id": "1", "question": "q?", "choices": ["a", "b"], "answer": 0}\n')
    with pytest.raises(QuestionFileError, match=r"made\.jsonl, line 1: .*options"):
        read_questions(path)


def test_written_questions_are_read_again(tmp_path: Path) -> None:
    asked = (
        Question("1", "Was ist größer?", ("ein Haus\u2028", "eine Maus"), answer=0, subject="Größe"),
        Question("2", "Which?", ("a", "b", "c"), context="two\nlines", answer=2),
    )
    path = tmp_path / "questions.jsonl"
    path.write_text("old")
    jsonl.write_jsonl(path, asked)
    assert read_questions(path).questions == asked


def test_files_beside_the_recipe_are_found_before_those_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("recipes/train.csv", "recipes/sets/shift.csv", "train.csv", "test.csv"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    monkeypatch.chdir(tmp_path)
    data = {"train": "train.csv", "test": "test.csv", "calibration": None, "shift": {"a": "sets/shift.csv"}}
    located = locate_files({"source": "csv", **data}, Path("recipes"))
    assert located == {
        "source": "csv",
        "train": str(tmp_path / "recipes" / "train.csv"),
        "test": "test.csv",  # read from the working folder
        "calibration": None,
        "shift": {"a": str(tmp_path / "recipes" / "sets" / "shift.csv")},
    }
    absolute = {"source": "jsonl", "train": str(tmp_path / "train.csv"), "test": "${DATA_DIR}/test.jsonl"}
    assert locate_files(absolute, Path("recipes")) == absolute
    assert locate_files({"source": "hub", "train": "train.csv"}, Path("recipes"))["train"] == "train.csv"


def test_one_file_is_divided_by_the_ids_of_its_questions(write_jsonl, ask) -> None:
    """Shares are approximate, and a question stays in its split when others are added."""
    questions = tuple(ask(f"q{number}", f"What about number {number}?") for number in range(400))
    few, many = (
        jsonl.load(JsonlData(train=str(write_jsonl(name, part)), test_share=0.25, calibration_share=0.5))
        for name, part in (("few.jsonl", questions[:300]), ("many.jsonl", questions))
    )
    for source, total in ((few, 300), (many, 400)):
        parts = (source.train, source.calibration, source.test)
        assert len({question.id for part in parts for question in part}) == sum(map(len, parts)) == total
        assert len(source.test) == pytest.approx(0.25 * total, rel=0.25)
        assert len(source.calibration) == pytest.approx(0.5 * 0.75 * total, rel=0.25)
    assert set(few.test) < set(many.test)
    assert set(few.calibration) < set(many.calibration)
    (message,) = few.messages
    assert re.fullmatch(rf"{len(few.test)} of 300 questions of .*few\.jsonl are the test split", message)
