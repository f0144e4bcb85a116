"""GET /predictions/{prediction_id}: a stored answer and its label, if any."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path

from uq4ct.service.context import ContextOf
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.kinds import AUTHENTICATED, FAILING, FINDING_PREDICTION, INVALID_FIELD, declare
from uq4ct.service.http.problems import explain
from uq4ct.service.schemas.feedback import ID_PATTERN, PredictionView

router = APIRouter(tags=["feedback"], responses=declare(*AUTHENTICATED))


@router.get("/predictions/{prediction_id}", responses=declare(*FINDING_PREDICTION, INVALID_FIELD, *FAILING))
async def show_prediction(
    prediction_id: Annotated[str, Path(pattern=ID_PATTERN)],
    context: ContextOf,
    caller: Annotated[Caller, Depends(require(Scope.PREDICT))],
) -> PredictionView:
    """Show a prediction of the key's tenant or, with an admin key, of any tenant."""
    try:
        return PredictionView.from_stored(await context.ledger.find(prediction_id, caller.reach))
    except Exception as error:
        raise explain(error) from error
