"""What many training questions cost before the first step, in CPU and wall seconds and in memory.

    python -m tests.benchmarks.many_questions COUNT [BASE]

Prints one line of JSON. The base is that of a recipe, by default the embedded one. `bytes_per_question` compares the
most memory in use with that before the questions were read; a real base model needs so much memory while it is loaded
that the questions may not add to it.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from uq4ct.training.data.batches import epoch_steps, forwards
from uq4ct.training.run_config import RunConfig, parse_run_config
from uq4ct.training.runs.inputs import RunInputs, load_inputs

FEW = 500
WORDS = (
    "river",
    "capital",
    "which",
    "mountain",
    "country",
    "was",
    "born",
    "in",
    "year",
    "largest",
    "planet",
    "of",
    "the",
)


def main() -> None:
    """Measure a few questions first, so that libraries are warm, then many."""
    count = int(sys.argv[1])
    base = sys.argv[2] if len(sys.argv) > 2 else "smollm2-135m"
    with tempfile.TemporaryDirectory() as folder:
        few = measure(Path(folder), FEW, base)
        many = measure(Path(folder), count, base)
    figures = {
        "questions": count,
        "cpu_us_per_question": round((many["cpu"] - few["cpu"]) / (count - FEW) * 1e6, 1),
        "wall_us_per_question": round((many["wall"] - few["wall"]) / (count - FEW) * 1e6, 1),
        "wall_seconds": round(many["wall"], 1),
        "bytes_per_question": round((many["peak"] - few["peak"]) / (count - FEW)),
    }
    print(json.dumps(figures))


def write_questions(path: Path, count: int) -> None:
    """Write questions of about 48 tokens of the embedded base, with four options each."""
    with path.open("w", encoding="utf-8") as file:
        for record in records_of(count):
            file.write(json.dumps(record) + "\n")


def records_of(count: int) -> Iterator[dict[str, Any]]:
    """Questions as the lines of a file."""
    draw = random.Random(0)
    for index in range(count):
        words = " ".join(draw.choices(WORDS, k=draw.randint(10, 22)))
        options = [f"{' '.join(draw.choices(WORDS, k=draw.randint(1, 3)))} {option}" for option in range(4)]
        text = f"Which {words} number {draw.randrange(10**7)}?"
        yield {"id": f"q-{index}", "question": text, "options": options, "answer": draw.randrange(4)}


def config_of(train: Path, base: str) -> RunConfig:
    """A run of UQ4CT on the questions of one file."""
    record = {
        "name": "many",
        "method": "uq4ct",
        "base": {"name": base, "device": "cpu"},
        "data": {"source": "jsonl", "train": str(train)},
        "adapter": {"experts": 4, "top_k": 2, "rank": 4, "alpha": 8},
    }
    return parse_run_config(record, "many questions")


def measure(folder: Path, count: int, base: str) -> dict[str, float]:
    """Load a run's questions, and put its first step through the model; seconds, and most bytes in use so far."""
    train = folder / "train.jsonl"
    write_questions(train, count)
    cpu, wall = time.process_time(), time.perf_counter()
    _first_forward(load_inputs(config_of(train, base), folder, Console(quiet=True)))
    return {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _first_forward(inputs: RunInputs) -> None:
    training = inputs.config.training
    steps = epoch_steps(inputs.train.lengths, inputs.train.held_out, training.batch_questions, training.seed, 0)
    batch = next(forwards([inputs.train[index] for index in steps[0]], training.accumulation))
    inputs.model(batch.tokens)


if __name__ == "__main__":
    main()
