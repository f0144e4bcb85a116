"""Base models from elsewhere, with real weights: trained, published, served and asked.

The files are not part of the project: REAL_MODELS_DIR names the folder that has them.
"""

from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest

from tests.benchmarks.served import running_service
from tests.command_line import uq4ct
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.questions import Question

FOLDER = Path(os.environ.get("REAL_MODELS_DIR", ""))
QUESTION = Question(id="paris", text="What is the capital of France?", options=("Madrid", "Paris", "Oslo", "Rome"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "family", "scoring", "rate"),
    [
        ("gemma-3-270m-q4_k_m.gguf", "gemma3_text", "cloze", 1e-3),
        ("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2", "letter", 2e-4),
    ],
)
def test_a_gguf_file_of_real_weights_is_trained_served_and_asked(
    file: str, family: str, scoring: str, rate: float, tmp_path: Path
) -> None:
    if not (FOLDER / file).is_file():
        pytest.skip(f"{file} is not in the folder that REAL_MODELS_DIR names ({str(FOLDER)!r})")
    run, store = tmp_path / "run", tmp_path / "store"
    data = "{source: facts, train_limit: 200, calibration_limit: 120, test_limit: 60}"
    settings = [f"base.name={FOLDER / file}", f"data={data}", f"scoring={{kind: {scoring}}}", "base.dtype=float32"]
    settings.append(f"optimizer.learning_rate={rate}")
    _run(["train", "quickstart", "--output", str(run), *(word for one in settings for word in ("--set", one))])
    _run(["publish", str(run), "--store", str(store)])
    stored = load_predictor("quickstart@1", store, dtype="float32")
    assert stored.manifest.base.model_type == family
    trained, untrained = stored.manifest.scores_after, stored.manifest.scores_untrained
    assert untrained is not None
    print(f"{file}: untrained {untrained}, trained {trained}")
    assert trained.nll < untrained.nll
    (expected,) = stored.answer([stored.encode(QUESTION)])
    with running_service(store, DTYPE="float32") as service:
        body = {"question": QUESTION.text, "options": QUESTION.options}
        found = httpx2.post(f"{service.address}/predict", json=body, timeout=120).raise_for_status().json()
    assert [row["probability"] for row in found["probabilities"]] == pytest.approx(expected.probabilities, abs=1e-5)
    assert found["feu"] == pytest.approx(expected.feu, abs=1e-5)
    assert found["option"]["text"] == "Paris"


def _run(arguments: list[str]) -> None:
    done = uq4ct(arguments)
    assert done.exit_code == 0, done.output
