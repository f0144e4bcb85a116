"""GET /predictions: stored answers and their labels, page by page. GET /predictions/{prediction_id}: one of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from uq4ct.service.context import ContextOf
from uq4ct.service.http.declarations import declare, such_as
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.kinds import (
    AUTHENTICATED,
    FAILING,
    FINDING_PREDICTION,
    FORBIDDEN,
    INVALID_FIELD,
    LEDGER_UNAVAILABLE,
)
from uq4ct.service.http.problems import ProblemError, explain
from uq4ct.service.http.responses import write_in_thread
from uq4ct.service.ledger.listing import Filters
from uq4ct.service.routes.windows import NO_WINDOW, Model, Window, read_window
from uq4ct.service.schemas.common import FieldError, Probability, ShortText
from uq4ct.service.schemas.examples import PREDICTION_ID
from uq4ct.service.schemas.feedback import ID_PATTERN, PredictionList, PredictionView

PredictionId = Annotated[
    str,
    Path(pattern=ID_PATTERN, description="`prediction_id` of the answer", openapi_examples=such_as(PREDICTION_ID)),
]

Tenant = Annotated[
    ShortText | None,
    Query(description="only this tenant's; an admin key may name any", openapi_examples=such_as("clinic")),
]
TaskName = Annotated[ShortText | None, Query(description="only of this task", openapi_examples=such_as("science"))]
ConfidenceFrom = Annotated[
    Probability | None, Query(description="only with at least this confidence", openapi_examples=such_as(0.9))
]
ConfidenceTo = Annotated[
    Probability | None, Query(description="only with at most this confidence", openapi_examples=such_as(1.0))
]
Abstain = Annotated[bool | None, Query(description="only with or without abstention", openapi_examples=such_as(False))]
Labelled = Annotated[bool | None, Query(description="only with or without a label", openapi_examples=such_as(True))]
Correct = Annotated[
    bool | None, Query(description="only labelled ones that were right or wrong", openapi_examples=such_as(False))
]
Limit = Annotated[int, Query(ge=1, le=200, description="most predictions of the page", openapi_examples=such_as(50))]
Cursor = Annotated[
    str | None,
    Query(pattern=ID_PATTERN, description="`next` of the page before", openapi_examples=such_as(PREDICTION_ID)),
]

_NO_ID = FieldError(field="prediction_id", message=f"String should match pattern '{ID_PATTERN}'")

router = APIRouter(tags=["feedback"], responses=declare(*AUTHENTICATED))


@router.get(
    "/predictions",
    responses=declare(INVALID_FIELD, LEDGER_UNAVAILABLE, *FAILING, invalid=NO_WINDOW),
    response_model=PredictionList,
)
async def list_predictions(  # noqa: PLR0913  # one parameter for each filter
    *,
    context: ContextOf,
    caller: Annotated[Caller, Depends(require(Scope.PREDICT))],
    window: Window = "24h",
    model: Model = None,
    tenant: Tenant = None,
    task: TaskName = None,
    confidence_from: ConfidenceFrom = None,
    confidence_to: ConfidenceTo = None,
    abstain: Abstain = None,
    labelled: Labelled = None,
    correct: Correct = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """List predictions of the key's tenant or, with an admin key, of all tenants, the newest first.

    The list may lack predictions of the last seconds.
    """
    _check_range(confidence_from, confidence_to)
    read = read_window(context, window, _reach(caller, tenant), model)
    filters = Filters(task, confidence_from, confidence_to, abstain, labelled, correct)
    try:
        page = await context.ledger.page(read, filters, limit, cursor)
    except Exception as error:
        raise explain(error) from error
    return await write_in_thread(lambda: PredictionList.from_page(read.since_ms, read.until_ms, page))


@router.get(
    "/predictions/{prediction_id}",
    responses=declare(*FINDING_PREDICTION, INVALID_FIELD, *FAILING, invalid=_NO_ID),
)
async def show_prediction(
    prediction_id: PredictionId,
    context: ContextOf,
    caller: Annotated[Caller, Depends(require(Scope.PREDICT))],
) -> PredictionView:
    """Show a prediction of the key's tenant or, with an admin key, of any tenant."""
    try:
        return PredictionView.from_stored(await context.ledger.find(prediction_id, caller.reach))
    except Exception as error:
        raise explain(error) from error


def _reach(caller: Caller, tenant: str | None) -> str | None:
    """Return the tenant to read; None for all."""
    if tenant is not None and caller.reach not in (None, tenant):
        raise ProblemError(FORBIDDEN, f"tenant {tenant}: the key belongs to {caller.tenant}; an admin key may name any")
    return tenant or caller.reach


def _check_range(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and low > high:
        message = f"must be at least confidence_from, {low:g} (got {high:g})"
        raise ProblemError(
            INVALID_FIELD, f"confidence_to: {message}", [FieldError(field="confidence_to", message=message)]
        )
