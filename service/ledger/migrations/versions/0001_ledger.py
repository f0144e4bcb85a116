"""The initial schema: predictions as served, their labels, the state of the sequential tests and of retention."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PREDICTION_ID = sa.Uuid(as_uuid=False).with_variant(sa.LargeBinary(16), "sqlite")


def upgrade() -> None:
    """Create the tables and their indexes."""
    op.create_table(
        "predictions",
        sa.Column("prediction_id", _PREDICTION_ID, primary_key=True),
        sa.Column("created_ms", sa.BigInteger, nullable=False, comment="Unix milliseconds"),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("key_hash", sa.String(64), comment="SHA-256 of the id of the key"),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("adapter_digest", sa.String(80), nullable=False),
        sa.Column("method", sa.String(64), nullable=False),
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("option", sa.SmallInteger, nullable=False),
        sa.Column("options", sa.SmallInteger, nullable=False, comment="how many there were"),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("probabilities", sa.JSON, nullable=False),
        sa.Column("feu", sa.Double),
        sa.Column("total", sa.Double, nullable=False, comment="nats"),
        sa.Column("aleatoric", sa.Double, comment="nats"),
        sa.Column("epistemic", sa.Double, comment="nats"),
        sa.Column("error_score", sa.Double, comment="of the method's own, high = likely wrong"),
        sa.Column("bin", sa.SmallInteger, nullable=False),
        sa.Column("abstain", sa.Boolean, nullable=False),
        sa.Column("abstain_reason", sa.String(32)),
        sa.Column("threshold", sa.Double),
        sa.Column("prediction_set", sa.JSON),
        sa.Column("coverage", sa.Double),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.String(128)),
        sa.Column("body_hash", sa.String(64), comment="SHA-256 of the request, where it has an idempotency key"),
        sa.Column("question", sa.JSON, comment="text, options and context, where they are stored at all"),
    )
    _create_indexes("predictions")
    op.create_index(
        "predictions_by_idempotency_key",
        "predictions",
        ["tenant", "idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "labels",
        sa.Column(
            "prediction_id",
            _PREDICTION_ID,
            sa.ForeignKey("predictions.prediction_id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("answer", sa.SmallInteger, nullable=False, comment="index of the true option"),
        sa.Column("correct", sa.Boolean, nullable=False),
        sa.Column("source", sa.String(64)),
        sa.Column("labelled_ms", sa.BigInteger, nullable=False, comment="Unix milliseconds"),
        sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false(), comment="by the sequential tests"),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("model", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False, comment="Unix milliseconds, of the prediction"),
        sa.Column("confidence", sa.Double, nullable=False),
        sa.Column("abstain", sa.Boolean, nullable=False),
        sqlite_with_rowid=False,
    )
    _create_indexes("labels")
    op.create_index(
        "labels_not_counted",
        "labels",
        ["labelled_ms", "prediction_id"],
        sqlite_where=sa.text("counted IS 0"),
        postgresql_where=sa.text("counted IS false"),
    )
    op.create_table(
        "sequential_tests",
        sa.Column(
            "tenant", sa.String(128), primary_key=True, comment="whose labels are counted; empty: of all tenants"
        ),
        sa.Column("model", sa.String(64), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("test", sa.String(32), primary_key=True),
        sa.Column("bound", sa.Double, comment="error rate of the null hypothesis, of error_rate"),
        sa.Column("started_ms", sa.BigInteger, nullable=False, comment="Unix milliseconds"),
        sa.Column("alarmed_ms", sa.BigInteger, comment="Unix milliseconds"),
        sa.Column("labels", sa.BigInteger, nullable=False, comment="how many were counted"),
        sa.Column("log_stake", sa.Double, nullable=False),
        sa.Column("deviations", sa.Double, nullable=False, comment="fading sum"),
        sa.Column("squares", sa.Double, nullable=False, comment="fading sum"),
    )
    op.create_table(
        "retention",
        sa.Column("started_ms", sa.BigInteger, primary_key=True, autoincrement=False, comment="of the last round"),
    )


def _create_indexes(table: str) -> None:
    """Create an index for the newest rows of each restriction: of a tenant, a model, a version, or two of them."""
    for columns in (
        ["tenant"],
        ["model"],
        ["model", "version"],
        ["tenant", "model"],
        ["tenant", "model", "version"],
    ):
        op.create_index(f"{table}_by_{'_'.join(columns)}", table, [*columns, "prediction_id"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("retention")
    op.drop_table("sequential_tests")
    op.drop_table("labels")
    op.drop_table("predictions")
