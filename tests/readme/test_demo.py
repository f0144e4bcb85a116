"""The demonstration as a user runs it, on the embedded base model, with fewer questions; then `make serve`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.readme.conftest import STORE
from tests.readme.curl import send
from tests.readme.examples.root import MAKE_DEMO, MAKE_SERVE, PREDICT
from tests.readme.makefile import recipe
from tests.readme.terminal import Terminal, check_out
from uq4ct.model_store.storage.registry import Registry

FEWER = "--set data.train_limit=256 --set data.calibration_limit=100 --set data.test_limit=200"


@pytest.mark.slow
def test_the_demo_trains_publishes_serves_and_answers(tmp_path: Path) -> None:
    terminal = Terminal(check_out(tmp_path), in_process=False)
    (command,) = recipe(terminal, MAKE_DEMO)
    printed = terminal.run(f"{shlex.join(command)} {FEWER}")
    decoder = json.JSONDecoder()
    answers = [decoder.raw_decode(printed[start:])[0] for start in _starts_of_json(printed)]
    assert len(answers) == 3
    for answer in answers:
        assert answer["model"] == "quickstart@1"
        assert sum(item["probability"] for item in answer["probabilities"]) == pytest.approx(1)
        assert answer["confidence"] == max(item["probability"] for item in answer["probabilities"])
    assert answers[0]["option"]["text"] == "Paris"
    manifest = Registry(tmp_path / STORE).load("quickstart").manifest
    assert manifest.scores_untrained is not None
    assert manifest.scores_after.nll < manifest.scores_untrained.nll
    with terminal.serve(MAKE_SERVE) as address:
        assert send(terminal, PREDICT, address)["option"]["text"] == "Paris"


def _starts_of_json(text: str) -> list[int]:
    position = 0
    starts = []
    for line in text.splitlines(keepends=True):
        if line.startswith("{"):
            starts.append(position)
        position += len(line)
    return starts
