"""The query parameters that select predictions by time and model."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from uq4ct.service.context import Context
from uq4ct.service.http.declarations import such_as
from uq4ct.service.ledger.queries import Window as LedgerWindow
from uq4ct.service.ledger.retention import oldest_kept_ms
from uq4ct.service.ledger.windows import MODEL_PATTERN, WINDOW_PATTERN, window_ms, window_of
from uq4ct.service.schemas.common import FieldError

Window = Annotated[
    str,
    Query(
        pattern=WINDOW_PATTERN,
        description="how far back to look, such as 3600s, 90m, 24h or 7d",
        openapi_examples=such_as("7d"),
    ),
]
Model = Annotated[
    str | None,
    Query(pattern=MODEL_PATTERN, description="only this name or name@version", openapi_examples=such_as("arc-easy@3")),
]

NO_WINDOW = FieldError(field="window", message=f"String should match pattern '{WINDOW_PATTERN}'")


def read_window(context: Context, window: str, tenant: str | None, model: str | None) -> LedgerWindow:
    """Return the window that ends now, of one tenant (None: of all), without what retention deletes."""
    now_ms = context.ledger.now_ms()
    since_ms = max(now_ms - window_ms(window), oldest_kept_ms(now_ms, context.settings.retention_days))
    return window_of(since_ms, now_ms, tenant, model)
