"""Export the whole ledger as JSON lines, oldest first, read in pages."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import Select, and_, select

from uq4ct.model_store.storage.durable_files import sync_directory
from uq4ct.service.ids import first_id
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.queries import LABEL_COLUMNS, stored_prediction
from uq4ct.service.ledger.tables import labels, predictions
from uq4ct.service.records import StoredPrediction

_PAGE = 1000


def export_lines(database: Database) -> Iterator[str]:
    """Yield one JSON object per prediction, with its label or null.

    Each page is read in its own transaction, so that a long export holds no lock and no old snapshot.

    Raises:
        LedgerUnavailableError: the database cannot be read; the lines yielded so far are incomplete.
    """
    last = first_id(0)
    while page := _read_page(database, last):
        yield from (json.dumps(_shown(stored)) for stored in page)
        last = page[-1].record.prediction_id


def write_lines(lines: Iterable[str], path: Path) -> int:
    """Write the lines to a file for its owner only, in full or not at all; return their number."""
    staged = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    count = 0
    try:
        descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            for line in lines:
                file.write(f"{line}\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
    return count


def _read_page(database: Database, after: str) -> list[StoredPrediction]:
    # Where only predictions have to be younger, PostgreSQL may read all older labels again for every page.
    own = and_(labels.c.prediction_id == predictions.c.prediction_id, labels.c.prediction_id > after)
    page: Select[Any] = (
        select(predictions, *LABEL_COLUMNS)
        .select_from(predictions.outerjoin(labels, own))
        .where(predictions.c.prediction_id > after)
        .order_by(predictions.c.prediction_id)
        .limit(_PAGE)
    )
    with database.snapshot() as connection:
        return [stored_prediction(row) for row in connection.execute(page).mappings()]


def _shown(stored: StoredPrediction) -> dict[str, Any]:
    label = None if stored.label is None else asdict(stored.label)
    return asdict(stored.record) | {"created_ms": stored.record.created_ms, "label": label}
