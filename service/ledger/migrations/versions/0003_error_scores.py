"""The score by which some methods tell likely errors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; predictions that are there already have none."""
    op.add_column(
        "predictions", sa.Column("error_score", sa.Double, comment="of the method's own, high = likely wrong")
    )


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("predictions", "error_score")
