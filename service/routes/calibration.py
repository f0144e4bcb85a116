"""GET /calibration: the confidence compared with the labels received so far."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from uq4ct.service.context import ContextOf
from uq4ct.service.http.declarations import declare, such_as
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.kinds import AUTHENTICATED, FAILING, INVALID_FIELD, LEDGER_UNAVAILABLE, STORE_UNAVAILABLE
from uq4ct.service.http.problems import explain
from uq4ct.service.http.responses import write_in_thread
from uq4ct.service.ledger.cohorts import read_manifests
from uq4ct.service.ledger.retention import oldest_kept_ms
from uq4ct.service.ledger.windows import MODEL_PATTERN, WINDOW_PATTERN, window_ms, window_of
from uq4ct.service.schemas.calibration import CalibrationReport
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

Versions = Annotated[
    int | None,
    Query(
        ge=1,
        le=500,
        description="most versions to report, those with the most predictions; all without it",
        openapi_examples=such_as(8),
    ),
]

_NO_WINDOW = FieldError(field="window", message=f"String should match pattern '{WINDOW_PATTERN}'")

router = APIRouter(tags=["calibration"], responses=declare(*AUTHENTICATED))


@router.get(
    "/calibration",
    responses=declare(INVALID_FIELD, LEDGER_UNAVAILABLE, STORE_UNAVAILABLE, *FAILING, invalid=_NO_WINDOW),
    response_model=CalibrationReport,
)
async def show_calibration(
    context: ContextOf,
    caller: Annotated[Caller, Depends(require(Scope.PREDICT))],
    window: Window = "24h",
    model: Model = None,
    versions: Versions = None,
) -> Response:
    """Report each model version that answered in the window, for the key's tenant or, with an admin key, all tenants.

    The window selects predictions by the time they were made, not by when their labels arrived. `alarms` are those of
    all versions, whatever the window and the model.
    """
    now_ms = context.ledger.now_ms()
    since_ms = max(now_ms - window_ms(window), oldest_kept_ms(now_ms, context.settings.retention_days))
    try:
        live = await context.ledger.calibration(window_of(since_ms, now_ms, caller.reach, model), versions)
        manifests = await context.engine.swaps.read(read_manifests, context.adapters, live.cohorts)
    except Exception as error:
        raise explain(error) from error
    return await write_in_thread(lambda: CalibrationReport.from_live(since_ms, now_ms, live, manifests))
