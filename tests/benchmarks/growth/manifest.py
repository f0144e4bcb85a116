"""Row 9: what the manifest holds of the calibration questions."""

from __future__ import annotations

import random
from pathlib import Path

from tests.benchmarks.growth.curves import Curve
from uq4ct.model_store.decisions import ConformalSets
from uq4ct.model_store.uncertainty.conformal import sketch_scores

QUESTIONS = (100, 1_000, 10_000, 100_000)


def measure(folder: Path) -> list[Curve]:
    """Return the bytes of the sets' part of a manifest."""
    return [Curve("9", "prediction sets in the manifest, bytes", "questions", [(n, _bytes(n)) for n in QUESTIONS])]


def _bytes(questions: int) -> int:
    draw = random.Random(0)
    scores = sorted(draw.random() for _ in range(questions))
    sets = ConformalSets(
        score="lac", coverage=0.9, max_set_size=None, questions=questions, scores=sketch_scores(scores)
    )
    return len(sets.model_dump_json())
