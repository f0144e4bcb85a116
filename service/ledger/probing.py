"""Check that the ledger can be written, by a write that leaves no row."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from sqlalchemy import delete, insert

from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import REPEATED, labels, predictions

_PREDICTION: dict[str, Any] = {
    "created_ms": 0,
    "tenant": "",
    "model": "",
    "version": 0,
    "adapter_digest": "",
    "method": "",
    "task": "",
    "option": 0,
    "options": 0,
    "confidence": 0.0,
    "probabilities": [],
    "total": 0.0,
    "bin": 0,
    "abstain": False,
    "tags": [],
}
_LABEL: dict[str, Any] = {name: _PREDICTION[name] for name in REPEATED} | {
    "answer": 0,
    "correct": False,
    "labelled_ms": 0,
}


def probe_write(database: Database) -> None:
    """Insert and delete a prediction and its label in one transaction, and commit it.

    Needs the locks, permissions and tables of a real write, and space: a commit writes to the database's log.

    Raises:
        LedgerUnavailableError: the database cannot be written now.
    """
    key = {"prediction_id": str(uuid.UUID(int=secrets.randbits(64)))}  # of 1970, and of this probe alone
    with database.transaction() as connection:
        connection.execute(insert(predictions), key | _PREDICTION)
        connection.execute(insert(labels), key | _LABEL)
        connection.execute(delete(labels).where(labels.c.prediction_id == key["prediction_id"]))
        connection.execute(delete(predictions).where(predictions.c.prediction_id == key["prediction_id"]))
