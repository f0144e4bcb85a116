"""Row 12: what training questions cost before the first step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.growth.curves import Curve

QUESTIONS = (1_000, 10_000, 100_000, 1_000_000)


def measure(folder: Path) -> list[Curve]:
    """Return the seconds to the end of the first forward, and the memory of a question."""
    found = [(count, _measured(count)) for count in QUESTIONS]
    seconds = [(count, figures["seconds_to_first_forward"]) for count, figures in found]
    memory = [(count, max(figures["bytes_per_question"], 1)) for count, figures in found]
    return [
        Curve("12", "first step, s", "questions", seconds, most=120.0),
        Curve("12", "memory of a question, bytes", "questions", memory, most=1000.0),
    ]


def _measured(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.many_questions", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])
