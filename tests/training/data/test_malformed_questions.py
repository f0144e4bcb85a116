"""Malformed question files: exit code 1 and one line that names the file or field and the value."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.training.malformed import check_refusal, make_loop

QUESTION = '"id": "1", "question": "2 + 2?", "options": ["3", "4"]'
LINES: dict[str, tuple[bytes, str]] = {
    "binary": (bytes(range(256)), "cannot be read: line 2: byte 0x80 is not UTF-8: save the file as UTF-8"),
    "UTF-16": ("{}".encode("utf-16"), "cannot be read: line 1: byte 0xff is not UTF-8: save the file as UTF-8"),
    "deep": (b"[" * 100_000, "line 1: invalid JSON: arrays or objects are nested too deeply"),
    "duplicate key": (
        f'{{{QUESTION}, "answer": 0, "answer": 1}}'.encode(),
        "line 1: invalid JSON: duplicate key 'answer'",
    ),
    "NaN": (f'{{{QUESTION}, "answer": NaN}}'.encode(), "line 1: invalid JSON: NaN is not a JSON value"),
    "digits": (f'{{{QUESTION}, "answer": {"9" * 5000}}}'.encode(), "invalid JSON: a number has too many digits"),
    "float": (f'{{{QUESTION}, "answer": 1.0}}'.encode(), "line 1: answer: must be the index of the right"),
    "bool": (f'{{{QUESTION}, "answer": true}}'.encode(), "line 1: answer: must be the index of the right"),
    "negative": (f'{{{QUESTION}, "answer": -1}}'.encode(), "line 1: answer: -1 is not the index"),
    "huge": (f'{{{QUESTION}, "answer": {10**40}}}'.encode(), "line 1: answer: 1000"),
    "list": (b"[]", "line 1: must be a JSON object, not list"),
    "options": (b'{"id": "1", "question": "?", "options": "ab"}', "line 1: options: must be a list of texts, not str"),
    "surrogate": (b'{"id": "1", "question": "\\ud800", "options": ["a", "b"]}', "line 1: question: character 0"),
    "truncated": (b'{"id": "1", "question": "2', "line 1: invalid JSON: Unterminated string"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "complaint"), LINES.values(), ids=LINES)
def test_json_lines_that_are_no_questions_are_one_line(
    content: bytes, complaint: str, record: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    check_refusal(["new-recipe", str(tmp_path / "new.yaml"), "--train", str(path)], str(path), complaint)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(record))
    for verb in (["train", "--output", str(tmp_path / "run")], ["evaluate", "--untrained"]):
        check_refusal([*verb, str(recipe), "--set", f"data.train={path}"], str(path), complaint)


HEADER = b"question,option_1,option_2,answer\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "line 1: the column question is missing"),
        (bytes(range(256)), "cannot be read"),
        (HEADER + b"q,a,b," + b"1" * 5000, "line 2: answer: must be the number of an option"),
        (HEADER + b"q,a,b,-1", "line 2: answer: must be the number of an option, counted from 1, not '-1'"),
        (HEADER + b"q,a,b,1.0", "line 2: answer: must be the number of an option, counted from 1, not '1.0'"),
        (HEADER + b"q,a,b", "line 2: the number of cells differs"),
        (HEADER + b'q,"a,b,1', "invalid CSV"),
        (HEADER + b"q," + b"a" * 200_000 + b",b,1", "invalid CSV: field larger than field limit"),
        (HEADER.replace(b"option_2", b"option_1") + b"q,a,b,1", "line 1: the column option_2 is missing"),
        (b"question,option_1,option_2,answer,answer\nq,a,b,1,2", "line 1: unknown or repeated columns"),
    ],
)
def test_tables_that_are_no_questions_are_one_line(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    check_refusal(["new-recipe", str(tmp_path / "new.yaml"), "--train", str(path)], str(path), complaint)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_question_files_that_are_no_files_are_one_line(suffix: str, tmp_path: Path) -> None:
    for number, make in enumerate((Path.mkdir, os.mkfifo, make_loop, lambda _: None)):
        path = tmp_path / f"{number}{suffix}"
        make(path)
        check_refusal(["new-recipe", str(tmp_path / "new.yaml"), "--train", str(path)], f"{path}: cannot be read: ")
