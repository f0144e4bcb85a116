"""The demonstration as a user runs it, on the embedded base model, with fewer questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_store.storage.registry import Registry

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_demo_trains_publishes_serves_and_answers(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "training", "demo", "quickstart"),
        *("--output", str(tmp_path / "run"), "--store", str(tmp_path / "store")),
        *("--set", "data.train_limit=256", "--set", "data.calibration_limit=100", "--set", "data.test_limit=200"),
    ]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    decoder = json.JSONDecoder()
    answers = [decoder.raw_decode(done.stdout[start:])[0] for start in _starts_of_json(done.stdout)]
    assert len(answers) == 3
    for answer in answers:
        assert answer["model"] == "quickstart@1"
        assert sum(item["probability"] for item in answer["probabilities"]) == pytest.approx(1)
        assert answer["confidence"] == max(item["probability"] for item in answer["probabilities"])
    assert answers[0]["option"]["text"] == "Paris"
    manifest = Registry(tmp_path / "store").load("quickstart").manifest
    assert manifest.scores_untrained is not None
    assert manifest.scores_after.nll < manifest.scores_untrained.nll


def _starts_of_json(text: str) -> list[int]:
    position = 0
    starts = []
    for line in text.splitlines(keepends=True):
        if line.startswith("{"):
            starts.append(position)
        position += len(line)
    return starts
