"""The tables of the ledger. Ids are ordered by time, so a range of ids is a range of time."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    false,
    text,
)

from uq4ct.service.ledger.column_types import PredictionId

METADATA = MetaData()
OF_ALL_TENANTS = ""  # in sequential_tests.tenant; no tenant has an empty name
# What the rows of a window may be restricted to. Each has an index in which its rows are ordered by time, so that the
# newest are read without any other row, however rare they are; without a restriction, the primary key does this.
RESTRICTIONS = (
    ("tenant",),
    ("model",),
    ("model", "version"),
    ("tenant", "model"),
    ("tenant", "model", "version"),
)


def _indexes(table: str) -> list[Index]:
    return [Index(f"{table}_by_{'_'.join(columns)}", *columns, "prediction_id") for columns in RESTRICTIONS]


predictions = Table(
    "predictions",
    METADATA,
    Column("prediction_id", PredictionId, primary_key=True),
    Column("created_ms", BigInteger, nullable=False, comment="Unix milliseconds"),
    Column("tenant", String(128), nullable=False),
    Column("key_hash", String(64), comment="SHA-256 of the id of the key"),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("adapter_digest", String(80), nullable=False),
    Column("method", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("option", SmallInteger, nullable=False),
    Column("options", SmallInteger, nullable=False, comment="how many there were"),
    Column("confidence", Double, nullable=False),
    Column("probabilities", JSON, nullable=False),
    Column("feu", Double),
    Column("total", Double, nullable=False, comment="nats"),
    Column("aleatoric", Double, comment="nats"),
    Column("epistemic", Double, comment="nats"),
    Column("error_score", Double, comment="of the method's own, high = likely wrong"),
    Column("bin", SmallInteger, nullable=False),
    Column("abstain", Boolean, nullable=False),
    Column("abstain_reason", String(32)),
    Column("threshold", Double),
    Column("prediction_set", JSON(none_as_null=True)),
    Column("coverage", Double),
    Column("tags", JSON, nullable=False),
    Column("idempotency_key", String(128)),
    Column("body_hash", String(64), comment="SHA-256 of the request, where it has an idempotency key"),
    Column("question", JSON(none_as_null=True), comment="text, options and context, where they are stored at all"),
    *_indexes("predictions"),
    Index(
        "predictions_by_idempotency_key",
        "tenant",
        "idempotency_key",
        unique=True,
        sqlite_where=text("idempotency_key IS NOT NULL"),
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
)

labels = Table(
    "labels",
    METADATA,
    Column(
        "prediction_id",
        PredictionId,
        ForeignKey("predictions.prediction_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("answer", SmallInteger, nullable=False, comment="index of the true option"),
    Column("correct", Boolean, nullable=False),
    Column("source", String(64)),
    Column("labelled_ms", BigInteger, nullable=False, comment="Unix milliseconds"),
    Column("counted", Boolean, nullable=False, server_default=false(), comment="by the sequential tests"),
    Column("tenant", String(128), nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False, comment="Unix milliseconds, of the prediction"),
    Column("confidence", Double, nullable=False),
    Column("abstain", Boolean, nullable=False),
    *_indexes("labels"),
    sqlite_with_rowid=False,  # its rows are small, so they fit into the index of the primary key
)
# A label repeats what calibration needs of its prediction, which never changes. So the labelled predictions of a
# version are found without those that have no label, and no statement about labels joins the two tables.
REPEATED = ("tenant", "model", "version", "created_ms", "confidence", "abstain")
Index(
    "labels_not_counted",
    labels.c.labelled_ms,
    labels.c.prediction_id,
    sqlite_where=labels.c.counted.is_(False),
    postgresql_where=labels.c.counted.is_(False),
)

# One row per test of a version and a tenant; `uq4ct.service.ledger.sequential` defines the numbers.
sequential_tests = Table(
    "sequential_tests",
    METADATA,
    Column("tenant", String(128), primary_key=True, comment="whose labels are counted; empty: of all tenants"),
    Column("model", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("test", String(32), primary_key=True),
    Column("bound", Double, comment="error rate of the null hypothesis, of error_rate"),
    Column("started_ms", BigInteger, nullable=False, comment="Unix milliseconds"),
    Column("alarmed_ms", BigInteger, comment="Unix milliseconds"),
    Column("labels", BigInteger, nullable=False, comment="how many were counted"),
    Column("log_stake", Double, nullable=False),
    Column("deviations", Double, nullable=False, comment="fading sum"),
    Column("squares", Double, nullable=False, comment="fading sum"),
)

# At most one row.
retention = Table(
    "retention",
    METADATA,
    Column("started_ms", BigInteger, primary_key=True, autoincrement=False, comment="of the last round"),
)
