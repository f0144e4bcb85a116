"""The same probabilities over HTTP, from `evaluate` and from the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from rich.console import Console

from tests.benchmarks.served import running_service
from tests.command_line import uq4ct
from tests.training.publishing import publish_tiny_run
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.evaluation.predictions import read_predictions


def run_training(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `uq4ct ...` in its own folder."""
    command = [sys.executable, "-m", "uq4ct", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_http_equals_evaluate_one_question_a_batch(finished_run: Path, tmp_path: Path, quiet: Console) -> None:
    """Probabilities, FEU and entropies of every test question agree to 1e-6 in fp32."""
    store = tmp_path / "store"
    publish_tiny_run(finished_run, Registry(store), quiet)
    done = run_training(
        "evaluate",
        "tiny@1",
        "--store",
        str(store),
        "--one-by-one",
        "--output",
        str(tmp_path / "out"),
        "--dtype",
        "float32",
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "ECE noise floor" in done.stdout
    questions, answers = read_predictions(tmp_path / "out" / "test-calibrated.jsonl")
    with running_service(store, DTYPE="float32") as service:
        for question, answer in zip(questions, answers, strict=True):
            body = {"question": question.text, "options": list(question.options)}
            reply = httpx2.post(f"{service.address}/predict", json=body, timeout=30).json()
            served = [item["probability"] for item in reply["probabilities"]]
            assert served == pytest.approx(answer.probabilities, abs=1e-6)
            assert reply["option"]["index"] == answer.option
            assert reply["confidence"] == pytest.approx(answer.confidence, abs=1e-6)
            assert reply["feu"] == pytest.approx(answer.feu, abs=1e-6)
            assert reply["uncertainty"]["total"] == pytest.approx(answer.total, abs=1e-6)
            assert reply["uncertainty"]["epistemic"] is None
            assert reply["model"] == "tiny@1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "no_such_recipe"), "recipe 'no_such_recipe' is neither a file nor one of adue_smollm2"),
        (("train", "arc_easy_smollm2"), "UQ4CT_DATA_DIR"),
        (("publish", "nowhere"), "nowhere holds no finished run"),
        (("train", "quickstart", "--set", "training.epochs=0"), "training.epochs"),
    ],
)
def test_what_a_user_can_mend_is_one_message(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UQ4CT_DATA_DIR", raising=False)
    done = uq4ct(arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
