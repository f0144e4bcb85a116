"""Fill a ledger with many predictions and labels by a few statements of SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import REPEATED

FIRST_MS = 1_700_000_000_000  # of row 0
STEP_MS = 40  # between two rows
RARE = 5000  # one row in so many is of toy@3, and one of the tenant "rare"
LABELLED = 100  # of the younger version, one row in so many has a label

_CONFIDENCE = "(0.5 + (i * 7919 % 5000) / 10001.0)"
# The older half of `rows` rows is of version 1, the younger of version 2.
_VALUES = {
    "created_ms": f"{FIRST_MS} + i * {STEP_MS}",
    "tenant": f"CASE WHEN i % {RARE} = 1 THEN 'rare' WHEN i % 3 = 0 THEN 'b' ELSE 'a' END",
    "model": f"CASE WHEN i % {RARE} = 3 THEN 'odd' WHEN i % 10 = 0 THEN 'other' ELSE 'toy' END",
    "version": f"CASE WHEN i % {RARE} IN (1, 2) THEN 3 WHEN i < :rows / 2 THEN 1 ELSE 2 END",
    "confidence": _CONFIDENCE,
    "bin": f"CAST({_CONFIDENCE} * 15 - 0.5 AS integer)",
    "feu": "(i * 104729 % 10007) / 10007.0",
    "abstain": "i % 4 = 0",
    "adapter_digest": "'sha256:" + 64 * "1" + "'",
    "method": "'uq4ct'",
    "task": "'other'",
    "option": "1",
    "options": "4",
    "total": "0.61",
    "probabilities": "'[0.0712345678901234, 0.8587654321098766, 0.05, 0.02]'",
    "prediction_set": """'["B"]'""",
    "tags": "'[]'",
}
_MADE = _VALUES["created_ms"]
_SQLITE = {
    "prediction_id": f"bytes_of(printf('%012x', {_MADE}) || '70008000' || printf('%012x', i))",
    "numbers": "WITH RECURSIVE numbers(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM numbers WHERE i < :last)",
}
_POSTGRES = {
    "prediction_id": f"CAST(lpad(to_hex({_MADE}), 12, '0') || '70008000' || lpad(to_hex(i), 12, '0') AS uuid)",
    "numbers": "WITH numbers(i) AS (SELECT generate_series(CAST(:first AS bigint), CAST(:last AS bigint)))",
    "probabilities": f"CAST({_VALUES['probabilities']} AS json)",
    "prediction_set": f"CAST({_VALUES['prediction_set']} AS json)",
    "tags": f"CAST({_VALUES['tags']} AS json)",
}
_LABELS = f"""
INSERT INTO labels (prediction_id, answer, correct, labelled_ms, counted, {", ".join(REPEATED)})
SELECT prediction_id, 1, created_ms / {STEP_MS} % 3 > 0, created_ms + 60000, true, {", ".join(REPEATED)}
FROM predictions WHERE created_ms BETWEEN :from_ms AND :to_ms
AND (version <> 2 OR (created_ms - {FIRST_MS}) / {STEP_MS} % {LABELLED} = 1) ORDER BY prediction_id
"""


def fill(database: Database, first: int, last: int, rows: int) -> None:
    """Insert the predictions `first` to `last` of a ledger of `rows` rows, and their labels."""
    values = _VALUES | (_SQLITE if database.is_sqlite else _POSTGRES)
    numbers = values.pop("numbers")
    insert = f"INSERT INTO predictions ({', '.join(values)}) {numbers} SELECT {', '.join(values.values())} FROM numbers"
    with database.transaction() as connection:
        if database.is_sqlite:
            driver: Any = connection.connection.driver_connection
            driver.create_function("bytes_of", 1, bytes.fromhex, deterministic=True)
        else:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(insert), {"first": first, "last": last, "rows": rows})
        span = {"from_ms": FIRST_MS + first * STEP_MS, "to_ms": FIRST_MS + last * STEP_MS}
        connection.execute(text(_LABELS), span)
