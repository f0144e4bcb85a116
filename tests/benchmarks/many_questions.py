"""What many training questions cost before the first step, in CPU and wall seconds and in memory.

    python -m tests.benchmarks.many_questions COUNT [BASE]

Prints one line of JSON. The base is that of a recipe, by default the embedded one; it is loaded before. The ratio is
that of CPU times, of a question in a run and one that is tokenised alone, measured in turns.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import torch
from rich.console import Console

from uq4ct.training.data.batches import epoch_steps, forwards
from uq4ct.training.run_config import RunConfig, parse_run_config
from uq4ct.training.runs.inputs import load_inputs
from uq4ct.training.runs.new_model import load_base_of, make_model

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
    """Load the questions of one run, and put its first step through the model."""
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        train = Path(folder) / "train.jsonl"
        write_questions(train, count)
        config = config_of(train, sys.argv[2] if len(sys.argv) > 2 else "smollm2-135m")
        base = load_base_of(config)
        model = make_model(config, base)
        with (
            patch("uq4ct.training.runs.inputs.load_base_of", return_value=base),
            patch("uq4ct.training.runs.inputs.make_model", return_value=model),
        ):
            print(json.dumps({"questions": count} | measure(config, Path(folder), count)))


def measure(config: RunConfig, folder: Path, count: int) -> dict[str, float]:
    """Return the costs of one question, and the seconds to the end of the first forward."""
    with _most_memory() as memory:
        cpu, wall = time.process_time(), time.perf_counter()
        inputs = load_inputs(config, folder, Console(quiet=True))
        training = config.training
        steps = epoch_steps(inputs.train.lengths, inputs.train.held_out, training.batch_questions, training.seed, 0)
        batch = next(forwards([inputs.train[index] for index in steps[0]], training.accumulation))
        cpu, loaded = time.process_time() - cpu, time.perf_counter() - wall
    with torch.no_grad():
        inputs.model(batch.tokens)
        first = time.perf_counter() - wall
    return {
        "cpu_us_per_question": round(cpu / count * 1e6, 1),
        "wall_us_per_question": round(loaded / count * 1e6, 1),
        "seconds_to_first_forward": round(first, 2),
        "bytes_per_question": round((max(memory) - memory[0]) / count),
    }


@contextmanager
def _most_memory() -> Iterator[list[int]]:
    """Note the memory in use before, and then twenty times a second."""
    process = psutil.Process()
    noted = [process.memory_info().rss]
    ended = threading.Event()

    def note() -> None:
        while not ended.wait(0.05):
            noted.append(process.memory_info().rss)

    thread = threading.Thread(target=note)
    thread.start()
    try:
        yield noted
    finally:
        ended.set()
        thread.join()


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


if __name__ == "__main__":
    main()
