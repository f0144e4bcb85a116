"""Questions and files for the tests in this folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from uq4ct.model_store.questions import Question


def _ask(identifier: str, text: str | None = None, answer: int | None = 0, context: str | None = None) -> Question:
    return Question(
        id=identifier, text=text or f"What is {identifier}?", options=("yes", "no"), context=context, answer=answer
    )


@pytest.fixture
def ask() -> Callable[..., Question]:
    return _ask


@pytest.fixture
def write_jsonl(tmp_path: Path) -> Callable[[str, Iterable[Question]], Path]:
    def write(name: str, questions: Iterable[Question]) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(question.to_record()) + "\n" for question in questions), encoding="utf-8")
        return path

    return write
