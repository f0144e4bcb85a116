"""Row 8: `uq4ct calibration-report` over many sparse days of twelve versions."""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from tests.benchmarks.growth.curves import Curve
from tests.service.ledger.conftest import label_row, make_record
from uq4ct.model_store.uncertainty.bins import bin_of
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.tables import labels, predictions
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

DAYS = (7, 30, 120, 365)
VERSIONS = 12
A_DAY = 5  # labelled predictions of a version


def measure(folder: Path) -> list[Curve]:
    """Return the seconds of a report as page and JSON, with the start of the command."""
    url = f"sqlite:///{folder}/ledger.sqlite3"
    migrate(url)
    with closing(Database(url)) as database, database.transaction() as connection:
        for days in range(max(DAYS)):
            records = _records_of(days + 0.5)
            connection.execute(database.insert_new(predictions), [record.to_row() for record in records])
            rows = [label_row(record, int(_is_right(record)), record.created_ms + 60_000) for record in records]
            connection.execute(database.insert_new(labels), rows)
    return [Curve("8", "calibration-report, s", "days", [(n, _report(folder, url, n)) for n in DAYS], most=10.0)]


def _records_of(age: float) -> list[PredictionRecord]:
    """Return the predictions of the day that was so many days ago."""
    ids = TimeOrderedIds(lambda: time.time() - age * 86_400, secrets.randbits)
    draw = random.Random(age)
    records = []
    for version in range(1, VERSIONS + 1):
        for _ in range(A_DAY):
            p = draw.uniform(0.5, 1.0)
            changes = {"confidence": p, "bin": bin_of(p), "probabilities": (1 - p, p), "option": 1}
            records.append(make_record(prediction_id=ids.new(), version=version, **changes))
    return records


def _is_right(record: PredictionRecord) -> bool:
    """Return whether an answer is right, as often as its confidence says."""
    return random.Random(record.prediction_id).random() < record.confidence


def _report(folder: Path, url: str, days: int) -> float:
    environment = os.environ | {"UQ4CT_DATABASE_URL": url, "UQ4CT_MODEL_STORE_DIR": str(folder / "store")}
    output = ["--output", str(folder / "report.html"), "--json", str(folder / "report.json")]
    begun = time.perf_counter()
    command = [sys.executable, "-m", "uq4ct", "calibration-report", "--window", f"{days}d", *output]
    subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun
