"""A tiny task: questions whose answer a tiny model can learn, as JSON lines."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COLOURS = ["red", "blue", "white", "black", "green"]
ANIMALS = ["dog", "penguin", "cat", "horse", "cow"]


def tiny_records(name: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Return records in which the animal in the question determines the colour; wrong options are other colours."""
    draw = random.Random(seed)
    records = []
    for index in range(count):
        kind = draw.randrange(len(ANIMALS))
        options = draw.sample([colour for colour in COLOURS if colour != COLOURS[kind]], draw.randint(1, 3))
        answer = draw.randrange(len(options) + 1)
        options.insert(answer, COLOURS[kind])
        question = f"Colour of the {ANIMALS[kind]} number {name} {index}?"
        records.append({"id": f"{name}-{index}", "question": question, "options": options, "answer": answer})
    return records


def write_tiny_task(folder: Path, counts: Mapping[str, int]) -> Path:
    """Write a question file for each split, with the given numbers of questions, into an existing folder; return it."""
    for seed, (name, count) in enumerate(counts.items()):
        lines = [json.dumps(record) for record in tiny_records(name, count, seed)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder
