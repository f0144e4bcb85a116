"""Run the migrations on the connection and in the transaction of `migrating`."""

from __future__ import annotations

from alembic import context

from uq4ct.service.ledger.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
