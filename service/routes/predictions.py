"""GET /predictions/{prediction_id}: a stored answer and its label, if any."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from uq4ct.service.context import ContextOf
from uq4ct.service.http.declarations import declare, such_as
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.kinds import AUTHENTICATED, FAILING, FINDING_PREDICTION, INVALID_FIELD
from uq4ct.service.http.problems import explain
from uq4ct.service.schemas.common import FieldError
from uq4ct.service.schemas.examples import PREDICTION_ID
from uq4ct.service.schemas.feedback import ID_PATTERN, PredictionView

PredictionId = Annotated[
    str,
    Path(pattern=ID_PATTERN, description="`prediction_id` of the answer", openapi_examples=such_as(PREDICTION_ID)),
]

_NO_ID = FieldError(field="prediction_id", message=f"String should match pattern '{ID_PATTERN}'")

router = APIRouter(tags=["feedback"], responses=declare(*AUTHENTICATED))


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
