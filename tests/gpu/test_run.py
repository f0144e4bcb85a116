"""The whole check: the CPU's part on the tiny shape, and the GPU's part if there is a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.parts import PARTS
from tests.gpu.report import JSON_FILE, TABLE_FILE

ROOT = Path(__file__).parents[2]


def _run(output: Path, *arguments: str) -> dict[str, list[dict[str, str]]]:
    """Run the check and return its rows by part; the table has a line for each."""
    command = [sys.executable, "-m", "tests.gpu", "--output", str(output), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((output / JSON_FILE).read_text())["rows"]
    assert len((output / TABLE_FILE).read_text().splitlines()) == len(rows) + 4
    return {part.name: [row for row in rows if row["part"] == part.name] for part in PARTS}


@pytest.mark.slow
def test_the_cpu_part_runs_from_end_to_end(tmp_path: Path) -> None:
    rows = _run(tmp_path, "--device", "cpu", "--shape", "tiny", "--minutes", "60")
    for name in ("forward", "stored adapter", "training step", "waiting", "families", "memory plan", "service"):
        assert rows[name]
        assert {row["result"] for row in rows[name]} == {"passed"}
    speeds = rows["throughput"]
    assert {row["result"] for row in speeds} == {"measured", "not run"}
    assert {row["not_run"] for row in speeds if row["result"] == "not run"} == {"needs a CUDA device"}


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    assert torch.cuda.is_available()
    rows = _run(tmp_path, "--device", "cuda")
    assert all(rows.values())
