"""A ledger with labelled predictions, a store with reference data, and the command that reports on them."""

from __future__ import annotations

import datetime
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry

from tests.command_line import Done, uq4ct
from tests.service.conftest import draft
from tests.service.ledger.conftest import id_of_age, insert, make_record
from uq4ct.model_store.storage.manifest import ReferenceCurve, ReferenceHistograms
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.uncertainty.bins import bin_of
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.feedback import Feedback, store_label
from uq4ct.service.ledger.queries import Scored
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.metrics import Metrics


@pytest.fixture
def ledger(tmp_path: Path, empty_ledger: Path) -> Iterator[Database]:
    """An empty ledger in a temporary file."""
    database = Database(f"sqlite:///{shutil.copy(empty_ledger, tmp_path / 'ledger.sqlite3')}")
    yield database
    database.close()


@pytest.fixture
def store(tmp_path: Path, store_dir: Path) -> Path:
    """The tests' store with an additional toy@3 that has complete reference data."""
    root = tmp_path / "store"
    adapters = Registry(shutil.copytree(store_dir, root))
    confidence = (0, 0, 0, 0, 0, 0, 0, 0, 5, 10, 15, 20, 25, 50, 75)
    answered = tuple(round(200 * min(1.0, 2 * (1 - t))) for t in THRESHOLDS)
    changes = {
        "reference_histograms": ReferenceHistograms(
            bins=15,
            questions=200,
            confidence=confidence,
            feu=(0,) * 8 + (80, 120, 0, 0, 0, 0, 0),
            accuracy=0.75,
            ece=0.04,
        ),
        "reference_curve": ReferenceCurve(
            questions=200,
            thresholds=THRESHOLDS,
            answered=answered,
            wrong=tuple(round(n * 0.25 * (1 - t)) for n, t in zip(answered, THRESHOLDS, strict=True)),
        ),
    }
    adapters.publish(draft("toy").model_copy(update=changes), {"w": torch.ones(2)}, {}, promote=False)
    return root


def ask_and_label(ledger: Database, number: int, days: float, overconfidence: float = 0.1, **fields: object) -> None:
    """Insert predictions over the last days; four fifths get a label some hours later."""
    draw = random.Random(number)
    metrics = Metrics(CollectorRegistry())
    records: list[PredictionRecord] = []
    for _ in range(number):
        p = draw.uniform(0.5, 1.0)
        records.append(
            make_record(
                prediction_id=id_of_age(draw.uniform(0.3, days)),
                confidence=p,
                bin=bin_of(p),
                probabilities=(1 - p, p),
                feu=draw.uniform(0.5, 0.7),
                abstain=p < 0.6,
                **fields,
            )
        )
    insert(ledger, *records)
    for record in records:
        if draw.random() < 0.8:
            right = draw.random() < record.confidence - overconfidence
            feedback = Feedback(record.prediction_id, int(right), source=None)
            moment = record.created_ms + draw.randrange(60_000, 20_000_000)
            store_label(ledger, metrics, record, feedback, moment)


def write(tmp_path: Path, *arguments: str) -> Done:
    """Run the command with the test's ledger and store."""
    environment = {
        "UQ4CT_DATABASE_URL": f"sqlite:///{tmp_path / 'ledger.sqlite3'}",
        "UQ4CT_MODEL_STORE_DIR": str(tmp_path / "store"),
    }
    return uq4ct(["calibration-report", *arguments], env=environment)


def label_days(version: int, labels_of_days: list[int]) -> list[Scored]:
    """Return labelled predictions, made at noon from 1 January 2026 on, as many as each day has."""
    noon = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
    days = [noon + datetime.timedelta(days=day) for day, labels in enumerate(labels_of_days) for _ in range(labels)]
    moments = [int(day.timestamp() * 1000) for day in days]
    return [Scored("toy", version, moment, moment, 0.75, False, index % 4 > 0) for index, moment in enumerate(moments)]
