"""GET /health/live: the process is running. GET /health/ready: the replica accepts questions."""

from __future__ import annotations

from fastapi import APIRouter

from uq4ct.service.context import Context, ContextOf
from uq4ct.service.engine.engine import State
from uq4ct.service.http.declarations import NO_KEY, declare
from uq4ct.service.http.kinds import DRAINING, FOREIGN_HOST, LEDGER_UNAVAILABLE, NOT_READY
from uq4ct.service.http.problems import ProblemError
from uq4ct.service.schemas.common import Live, Ready

_REASONS = {
    State.LOADING: (NOT_READY, "the model is being loaded"),
    State.UNLOADABLE: (NOT_READY, "the model could not be loaded"),
    State.DEAD: (NOT_READY, "the model's thread has ended"),
    State.FAILING: (NOT_READY, "the last forward passes failed"),
    State.LEAVING: (DRAINING, "the replica is about to shut down"),
    State.DRAINING: (DRAINING, "the replica is shutting down"),
}

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", responses=declare(FOREIGN_HOST), openapi_extra=NO_KEY)
async def live() -> Live:
    """Whether the process is running; also answers while it loads, drains or is busy."""
    return Live()


@router.get(
    "/ready",
    responses=declare(FOREIGN_HOST, NOT_READY, DRAINING, LEDGER_UNAVAILABLE),
    openapi_extra=NO_KEY,
)
async def ready(context: ContextOf) -> Ready:
    """Whether a load balancer should send questions: the model is warm, the ledger is writable, no shutdown pending."""
    problem = unreadiness(context)
    if problem is not None:
        raise problem
    return Ready(model=context.engine.default_manifest.reference)


def unreadiness(context: Context) -> ProblemError | None:
    """Return why a load balancer should not send questions here; None if it should."""
    state = context.engine.state
    if state is not State.READY:
        kind, detail = _REASONS[state]
        return ProblemError(kind, detail, headers={"Retry-After": "1"})
    if context.ledger.required and not context.ledger.writable:
        return ProblemError(LEDGER_UNAVAILABLE, "the ledger cannot be written", headers={"Retry-After": "1"})
    return None
