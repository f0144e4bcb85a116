"""GET /status: this replica at a glance, and what the key may do; reads neither the ledger nor the model store."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from uq4ct import __version__
from uq4ct.service.context import Context, ContextOf
from uq4ct.service.http.declarations import declare
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.kinds import AUTHENTICATED, FAILING
from uq4ct.service.routes.health import unreadiness
from uq4ct.service.schemas.common import show_time
from uq4ct.service.schemas.status import LatencyView, QueueView, Status

router = APIRouter(tags=["health"], responses=declare(*AUTHENTICATED))


@router.get("/status", responses=declare(*FAILING))
async def show_status(context: ContextOf, caller: Annotated[Caller, Depends(require(Scope.PREDICT))]) -> Status:
    """Show the state of the replica that answers; also while it loads or drains."""
    admitted, limit = context.engine.queue
    latency = context.metrics.recent.latency()
    return Status(
        version=__version__,
        started_at=show_time(context.started_ms),
        default_model=_default_model(context),
        ready=unreadiness(context) is None,
        queue=QueueView(waiting=admitted, limit=limit),
        latency=None if latency is None else LatencyView.from_latency(latency),
        tenant=caller.tenant,
        scopes=[scope.value for scope in sorted(caller.scopes)],
    )


def _default_model(context: Context) -> str | None:
    adapter = context.engine.loaded.default
    return None if adapter is None else adapter.manifest.reference
