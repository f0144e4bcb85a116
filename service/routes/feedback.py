"""POST /feedback and /feedback/batch: the true option of an earlier prediction."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from uq4ct.service.context import Context, ContextOf
from uq4ct.service.http.declarations import declare
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.kinds import AUTHENTICATED, FINDING_PREDICTION, JSON_BODY, LABEL_CONFLICT, LEDGER_UNAVAILABLE
from uq4ct.service.http.problems import ProblemError, explain
from uq4ct.service.http.responses import write_in_thread
from uq4ct.service.http.strict_json import StrictJsonRoute
from uq4ct.service.ledger.feedback import Feedback
from uq4ct.service.routes.batches import read_items, show_results
from uq4ct.service.schemas.common import FieldError
from uq4ct.service.schemas.feedback import (
    FeedbackBatchRequest,
    FeedbackBatchResponse,
    FeedbackRequest,
    FeedbackResponse,
)

Labeller = Annotated[Caller, Depends(require(Scope.FEEDBACK))]

_NO_OPTION = FieldError(field="answer", message="must be the index or the letter of an option")
_NO_LABEL = FieldError(field="feedback", message="is empty")

router = APIRouter(route_class=StrictJsonRoute, tags=["feedback"], responses=declare(*AUTHENTICATED))


@router.post("/feedback", responses=declare(*JSON_BODY, *FINDING_PREDICTION, LABEL_CONFLICT, invalid=_NO_OPTION))
async def give_feedback(body: FeedbackRequest, context: ContextOf, caller: Labeller) -> FeedbackResponse:
    """Report the correct option of a prediction of the key's tenant or, with an admin key, of any tenant.

    Status 200 confirms that it is stored; repeating the same label changes nothing.
    """
    outcome = await _take(context, caller, body)
    if isinstance(outcome, ProblemError):
        raise outcome
    return outcome


@router.post("/feedback/batch", responses=declare(*JSON_BODY, invalid=_NO_LABEL), response_model=FeedbackBatchResponse)
async def give_feedback_batch(
    request: Request, body: FeedbackBatchRequest, context: ContextOf, caller: Labeller
) -> Response:
    """Report several correct options independently: one receipt or problem per label, in the same order."""
    limit = context.settings.max_client_batch_size
    items = read_items(FeedbackRequest, body.feedback, "feedback", limit, noun="labels")
    outcomes: list[FeedbackResponse | ProblemError] = []
    for item in items:
        # One at a time, and none once the ledger is unavailable: each attempt would wait for it again.
        gone = bool(outcomes) and isinstance(outcomes[-1], ProblemError) and outcomes[-1].kind is LEDGER_UNAVAILABLE
        outcomes.append(outcomes[-1] if gone else await _take(context, caller, item))
    return await write_in_thread(
        lambda: FeedbackBatchResponse(results=show_results(outcomes, request.state.request_id))
    )


async def _take(
    context: Context, caller: Caller, item: FeedbackRequest | ProblemError
) -> FeedbackResponse | ProblemError:
    if isinstance(item, ProblemError):
        return item
    try:
        taken = await context.ledger.label(Feedback(item.prediction_id, item.answer, item.source), caller.reach)
    except Exception as error:
        return explain(error)
    return FeedbackResponse(prediction_id=item.prediction_id, result=taken.value)
