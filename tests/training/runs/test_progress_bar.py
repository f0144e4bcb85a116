"""The bar of a training run at several widths, and what a run prints where there is no terminal."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from tests.training.conftest import MakeConfig
from uq4ct.training.runs.progress_bar import StepReport, TrainingBar

STEPS = 1230
LOSSES = {"loss": 2.064, "answer": 1.5, "calibration": 0.564}
SCORES = ["loss 2.064", "accuracy 0.512", "FEU 0.123", "10432 tokens/s", "answer 1.500", "calibration 0.564"]


def shown_at(width: int, *, terminal: bool = True) -> str:
    """Return the last state of a bar whose steps take the same scores each."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None, legacy_windows=False)
    with TrainingBar(STEPS, 0, console) as bar:
        for step in range(1, 401):
            bar.step(StepReport(step, 0, 1e-3, LOSSES, 0.512, 0.123, 10432, 1.0))
    return out.getvalue()


@pytest.mark.parametrize(("width", "scores"), [(40, 1), (60, 2), (80, 4), (100, 5), (200, 6)])
def test_the_bar_shows_the_steps_and_the_time_left_and_the_scores_that_fit_in_full(width: int, scores: int) -> None:
    *_, last = [line for line in re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown_at(width))) if line]
    found = re.fullmatch(r"([━╸╺ ]{8,40})  ?400/1230 (\d:\d\d:\d\d|-:--:--) *(.*?) *", last)
    assert found is not None, last
    assert "━" in found[1]
    assert found[3] == " ".join(SCORES[:scores])
    assert len(last) <= width


def test_without_a_terminal_every_twentieth_step_is_a_line() -> None:
    lines = shown_at(120, terminal=False).splitlines()
    assert len(lines) == 20
    assert lines[0] == (
        "step 20/1230 loss 2.064 answer 1.500 calibration 0.564 accuracy 0.512 FEU 0.123 10432 tokens/s"
    )


@pytest.mark.slow
def test_the_output_of_a_run_into_a_pipe_has_no_carriage_return(tmp_path: Path, make_config: MakeConfig) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(make_config("lora").model_dump(mode="json")))
    stdout, stderr = piped("train", str(recipe), "--output", str(tmp_path / "run"))
    assert "step 16/16 loss" in stdout
    assert "\r" not in stdout
    assert stderr == ""


@pytest.mark.slow
def test_a_base_model_that_is_converted_and_loaded_shows_no_bar_in_a_pipe(tmp_path: Path) -> None:
    """transformers shows a bar for each on a terminal."""
    stdout, stderr = piped("check-base", cache=tmp_path)
    assert "smollm2-135m" in stdout
    assert "\r" not in stdout
    assert stderr == ""


def piped(*arguments: str, cache: Path | None = None) -> tuple[str, str]:
    """Run `uq4ct` with its output into pipes; return what it wrote, with carriage returns as they were."""
    environment = os.environ | ({} if cache is None else {"UQ4CT_BASE_CACHE_DIR": str(cache)})
    command = [sys.executable, "-m", "uq4ct", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(), done.stderr.decode()
