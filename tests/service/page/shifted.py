"""A ledger of six days in which the questions change on the fifth: the confidence stays, the accuracy falls."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import torch
from prometheus_client import CollectorRegistry

from tests.service.conftest import draft
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.ledger.conftest import id_of_age, insert, label_row, make_record
from tests.service.listening import listening
from uq4ct.model_store.storage.promotions import PROMOTIONS_FILE
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.ledger.tables import labels
from uq4ct.service.records import PredictionRecord
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

DAYS = 6.0
PROMOTED = 3.5  # days ago, the second version
SHIFTED = 1.5  # days ago
PREDICTIONS = 2400
TENANTS = ("clinic", "library", "press", "school")
TASKS = ("law", "medicine", "physics")
_LOSS = 0.3  # of accuracy after the shift
_LABELLED = 0.7
_LONGEST_DELAY_MS = 6 * 3_600_000


def fill_shifted(database: Database, model: str) -> None:
    """Insert predictions and labels of versions 1 and 2 of a model, of four tenants; labels come hours later."""
    draw = random.Random(5)
    now_ms = int(time.time() * 1000)
    records, told = [], []
    for number in range(PREDICTIONS):
        age = DAYS * (1 - (number + 0.5) / PREDICTIONS)
        p = draw.uniform(0.4, 1.0)
        record = _record(draw, model, age, p)
        records.append(record)
        right = draw.random() < (p if age > SHIFTED else p - _LOSS)
        labelled_ms = record.created_ms + draw.randrange(60_000, _LONGEST_DELAY_MS)
        if draw.random() < _LABELLED and labelled_ms < now_ms:
            told.append(label_row(record, record.option if right else 1 - record.option, labelled_ms))
    insert(database, *records)
    with database.transaction() as connection:
        connection.execute(database.insert_new(labels), told)


@contextmanager
def serve_shifted(folder: Path, model: str) -> Iterator[str]:
    """Serve versions 1 and 2 of a model, the second in production, with such a ledger; yield the address."""
    url = f"sqlite:///{folder}/ledger.sqlite3"
    migrate(url)
    with closing(Database(url)) as database:
        fill_shifted(database, model)
    adapters = Registry(folder / "store")
    for _ in range(2):
        adapters.publish(draft(model), {"w": torch.ones(2)}, {}, promote=True)
    _date_promotions(folder / "store" / model)
    app = create_app(
        lambda: FakeHost(FakePredictor(adapters.manifest(model))),
        adapters,
        Settings(default_model=model, database_url=url),
        CollectorRegistry(),
        TimeOrderedIds(time.time, secrets.randbits),
    )
    with listening(app) as address:
        yield address


def _date_promotions(folder: Path) -> None:
    """Set the times of the two promotions to those of the versions' first answers."""
    now = datetime.now(UTC).replace(microsecond=0)
    path = folder / PROMOTIONS_FILE
    record = json.loads(path.read_text("utf-8"))
    for promotion, days in zip(record["promotions"], (DAYS, PROMOTED), strict=True):
        promotion["promoted_at"] = (now - timedelta(days=days)).isoformat()
    path.write_text(json.dumps(record), "utf-8")


def _record(draw: random.Random, model: str, age: float, p: float) -> PredictionRecord:
    option = draw.randrange(2)
    return make_record(
        prediction_id=id_of_age(age),
        tenant=draw.choice(TENANTS),
        model=model,
        version=1 if age > PROMOTED else 2,
        task=draw.choice(TASKS),
        option=option,
        confidence=p,
        probabilities=(p, 1 - p) if option == 0 else (1 - p, p),
        bin=min(int(p * 15), 14),
        abstain=p < 0.6,
        abstain_reason="below_threshold" if p < 0.6 else None,
        threshold=0.6,
    )
