"""What 50,000 training questions cost before the first step, and how few calls tokenise them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.benchmarks.many_questions import config_of, write_questions
from uq4ct.model_store.scoring.encoding import TextEncoder
from uq4ct.training.runs.encoded_splits import ENCODED_AT_ONCE
from uq4ct.training.runs.inputs import load_inputs

QUESTIONS = 50_000


@pytest.mark.slow
def test_many_questions_take_little_memory(tiny_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.many_questions", str(QUESTIONS), str(tiny_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 100 < figures["bytes_per_question"] < 1000


def test_a_run_tokenises_its_questions_in_large_calls(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call for each question would cost several times the CPU time."""
    calls: list[int] = []
    tokenise = TextEncoder.ids_of_all

    def count(self: TextEncoder, texts: list[str], **options: bool) -> Any:
        calls.append(len(texts))
        return tokenise(self, texts, **options)

    monkeypatch.setattr(TextEncoder, "ids_of_all", count)
    questions = 4 * ENCODED_AT_ONCE
    write_questions(tmp_path / "train.jsonl", questions)
    inputs = load_inputs(config_of(tmp_path / "train.jsonl", str(tiny_folder)), tmp_path, Console(quiet=True))
    assert len(inputs.train) > 2 * ENCODED_AT_ONCE
    assert sum(calls) >= 5 * questions  # each question, and its four options
    assert len(calls) < 2 * (questions / ENCODED_AT_ONCE + 4)  # two for each piece; up to four splits end with a part
