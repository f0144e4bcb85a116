"""The state of the sequential tests, and which labels they have counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; labels that are there already are counted from now on."""
    op.create_table(
        "sequential_tests",
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
    op.add_column(
        "labels",
        sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false(), comment="by the sequential tests"),
    )
    op.create_index(
        "labels_not_counted",
        "labels",
        ["labelled_ms", "prediction_id"],
        sqlite_where=sa.text("counted IS 0"),
        postgresql_where=sa.text("counted IS false"),
    )


def downgrade() -> None:
    """Drop the table and the mark."""
    op.drop_index("labels_not_counted", "labels")
    op.drop_column("labels", "counted")
    op.drop_table("sequential_tests")
