"""Row 2: statistics of many labels: `uq4ct compare` on the command line, and `GET /calibration`."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import httpx2

from tests.benchmarks.growth.curves import Curve, median_seconds
from tests.benchmarks.growth.tiny import tiny_store
from tests.benchmarks.served import running_service
from tests.service.ledger.filled import fill
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.migrating import migrate

COMPARED = (1_000, 10_000, 100_000, 1_000_000)
LABELS = (20, 200, 2_000, 20_000)  # the newest 20,000 are all that are read


def measure(folder: Path) -> list[Curve]:
    """Return the seconds of both."""
    return [
        Curve("2", "compare, s", "questions", [(n, compare(folder, n)) for n in COMPARED], most=60.0),
        Curve("2", "GET /calibration, s", "labels", [(n, calibration(folder, n)) for n in LABELS], most=0.2),
    ]


def compare(folder: Path, questions: int) -> float:
    """Return the seconds of a comparison of two models, with its start and the reading of both files."""
    files = [folder / "ours.jsonl", folder / "theirs.jsonl"]
    for seed, file in enumerate(files):
        write_predictions(file, questions, seed)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "uq4ct", "compare", *map(str, files)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def write_predictions(path: Path, questions: int, seed: int) -> None:
    """Write calibrated answers to the same questions for every seed."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(questions):
            p = draw.uniform(0.5, 1.0)
            question = {"id": f"q{number}", "question": f"Which {number}?", "options": ["a", "b"], "answer": number % 2}
            right = number % 2 if draw.random() < p else 1 - number % 2
            probabilities = [p, 1 - p] if right == 0 else [1 - p, p]
            answer = {"option": right, "confidence": p, "probabilities": probabilities, "feu": p, "total": 0.5}
            answer |= {"aleatoric": None, "epistemic": None}
            file.write(json.dumps({"question": question, "answer": answer}) + "\n")


def calibration(folder: Path, labels: int) -> float:
    """Return the median seconds of a request for one version with so many labels, on an idle service."""
    root = folder / str(labels)
    root.mkdir()
    store = tiny_store(root)
    url = f"sqlite:///{root}/ledger.sqlite3"
    migrate(url)
    database = Database(url)
    fill(database, 0, 2 * labels - 1, 2 * labels)  # the older half is of version 1 and labelled
    database.close()
    with running_service(store.root, DATABASE_URL=url, RETENTION_DAYS="36500") as service:
        path = f"{service.address}/calibration?window=36500d&model=toy@1"
        return median_seconds(lambda: httpx2.get(path, timeout=60).raise_for_status())
