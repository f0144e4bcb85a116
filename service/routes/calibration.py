"""GET /calibration: the confidence compared with the labels received so far. GET /calibration/history: over time."""

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
from uq4ct.service.ledger.history import interval_ms
from uq4ct.service.routes.windows import NO_WINDOW, Model, Window, read_window
from uq4ct.service.schemas.calibration import CalibrationReport
from uq4ct.service.schemas.history import CalibrationHistory

Versions = Annotated[
    int | None,
    Query(
        ge=1,
        le=500,
        description="most versions to report, those with the most predictions; all without it",
        openapi_examples=such_as(8),
    ),
]
Points = Annotated[
    int, Query(ge=2, le=200, description="how many equal intervals the window has", openapi_examples=such_as(42))
]

router = APIRouter(tags=["calibration"], responses=declare(*AUTHENTICATED))


@router.get(
    "/calibration",
    responses=declare(INVALID_FIELD, LEDGER_UNAVAILABLE, STORE_UNAVAILABLE, *FAILING, invalid=NO_WINDOW),
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
    read = read_window(context, window, caller.reach, model)
    try:
        live = await context.ledger.calibration(read, versions)
        manifests = await context.engine.swaps.read(read_manifests, context.adapters, live.cohorts)
    except Exception as error:
        raise explain(error) from error
    return await write_in_thread(lambda: CalibrationReport.from_live(read.since_ms, read.until_ms, live, manifests))


@router.get(
    "/calibration/history",
    responses=declare(INVALID_FIELD, LEDGER_UNAVAILABLE, *FAILING, invalid=NO_WINDOW),
    response_model=CalibrationHistory,
)
async def show_history(
    context: ContextOf,
    caller: Annotated[Caller, Depends(require(Scope.PREDICT))],
    window: Window = "7d",
    model: Model = None,
    points: Points = 42,
    versions: Versions = None,
) -> Response:
    """Show confidence and accuracy over time, for the key's tenant or, with an admin key, all tenants.

    A prediction counts in the interval in which it was made, not in which its label arrived.
    """
    read = read_window(context, window, caller.reach, model)
    try:
        history = await context.ledger.history(read, points, versions)
    except Exception as error:
        raise explain(error) from error
    width = interval_ms(read, points)
    return await write_in_thread(lambda: CalibrationHistory.from_history(read.since_ms, read.until_ms, width, history))
