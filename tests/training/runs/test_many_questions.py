"""What 50,000 training questions cost before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.many_questions import config_of, records_of
from uq4ct.model_store.questions import Question
from uq4ct.training.runs.new_model import load_base_of, make_model

QUESTIONS = 50_000


@pytest.mark.slow
def test_many_questions_take_little_memory_and_time(tiny_folder: Path, tmp_path: Path) -> None:
    """Less than 1 kB, and no more time than to tokenise each question by itself and nothing else."""
    command = [sys.executable, "-m", "tests.benchmarks.many_questions", str(QUESTIONS), str(tiny_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 100 < figures["bytes_per_question"] < 1000
    config = config_of(tmp_path / "none.jsonl", str(tiny_folder))
    scorer = make_model(config, load_base_of(config)).scorer
    asked = [Question.from_record(record) for record in records_of(2000)]
    started = time.process_time()
    for question in asked:
        scorer.encode(question)
    alone = (time.process_time() - started) / len(asked)
    assert figures["cpu_us_per_question"] < 1e6 * alone
