"""A run is the same run under another locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.training.conftest import MakeConfig
from uq4ct.training.runs.folder import claim_folder
from uq4ct.training.runs.records import is_finished

PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.slow
def test_a_run_that_was_begun_under_utf_8_is_resumed_under_c(tmp_path: Path, make_config: MakeConfig) -> None:
    """Twice: the first command trains it, the second reads its result; a character of a message is shown as a code."""
    data = make_config("lora").data.model_dump(mode="json")
    long = {"id": "größer", "question": "word " * 600, "options": ["red", "blue"], "answer": 0}
    train = tmp_path / "train.jsonl"
    train.write_text(Path(data["train"]).read_text(encoding="utf-8") + json.dumps(long), encoding="utf-8")
    files = {"train": str(train), "shift": {"größer": data["shift"]["others"]}}
    config = make_config("lora", training={"epochs": 1}, data=files)
    claim_folder(tmp_path / "run", config, resume=False)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(config.model_dump(mode="json"), allow_unicode=True), encoding="utf-8")
    outputs: list[str] = []
    for _ in range(2):
        command = [sys.executable, "-m", "uq4ct", "train", str(recipe), "--output", str(tmp_path / "run"), "--resume"]
        done = subprocess.run(command, env=os.environ | PLAIN, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        assert is_finished(tmp_path / "run")
        outputs.append(done.stdout)
    assert r"1 training questions over 512 tokens left out, the first is 'gr\xf6\xdfer'" in outputs[0]
