"""GET /calibration: whether the confidence still means what it says, by the labels that have come."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool

from service.context import ContextOf
from service.errors import FORBIDDEN, INTERNAL, INVALID_FIELD, LEDGER_UNAVAILABLE, UNAUTHORIZED, declare, explain
from service.ledger.calibration_schemas import CalibrationReport
from service.ledger.queries import Window
from service.ledger.reporting import read_manifests, show_report
from service.security import Caller, Scope, require

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_WINDOW_PATTERN = r"^[1-9][0-9]{0,8}[smhd]$"
_MODEL_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@[1-9][0-9]{0,8})?$"

router = APIRouter(tags=["calibration"], responses=declare(UNAUTHORIZED, FORBIDDEN))


@router.get("/calibration", responses=declare(INVALID_FIELD, LEDGER_UNAVAILABLE, INTERNAL))
async def show_calibration(
    context: ContextOf,
    caller: Annotated[Caller, Depends(require(Scope.PREDICT))],
    window: Annotated[
        str,
        Query(pattern=_WINDOW_PATTERN, description="how far back predictions count: 3600s, 90m, 24h or 7d"),
    ] = "24h",
    model: Annotated[str | None, Query(pattern=_MODEL_PATTERN, description="only this name or name@version")] = None,
) -> CalibrationReport:
    """Each model version that answered in the window, of the key's own tenant; an admin's key sees all tenants.

    A prediction belongs to the window by the time it was made, whenever its label came.
    """
    until = datetime.datetime.fromtimestamp(context.ledger.now_ms() / 1000, datetime.UTC)
    seconds = int(window[:-1]) * _SECONDS[window[-1]]
    kept = context.settings.retention_days * _SECONDS["d"]
    since = until - datetime.timedelta(seconds=min(seconds, kept))
    name, _, version = (model or "").partition("@")
    asked = Window(
        since_ms=int(since.timestamp() * 1000),
        tenant=None if Scope.ADMIN in caller.scopes else caller.tenant,
        model=name or None,
        version=int(version) if version else None,
    )
    try:
        cohorts = await context.ledger.cohorts(asked)
    except Exception as error:
        raise explain(error) from error
    manifests = await run_in_threadpool(read_manifests, context.adapters, cohorts)
    return show_report(since, until, cohorts, manifests)
