"""POST /feedback and /feedback/batch: the true option of an earlier prediction."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError

from uq4ct.service.context import Context, ContextOf
from uq4ct.service.http.guards import Caller, Scope, require
from uq4ct.service.http.problems import (
    FORBIDDEN,
    INTERNAL,
    INVALID_FIELD,
    LABEL_CONFLICT,
    LEDGER_UNAVAILABLE,
    MALFORMED_JSON,
    NOT_JSON,
    NOT_VISIBLE_YET,
    PAST_RETENTION,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_PREDICTION,
    ProblemError,
    declare,
    explain,
    field_errors,
    invalid_fields,
)
from uq4ct.service.http.strict_json import StrictJsonRoute
from uq4ct.service.ledger.feedback import Feedback
from uq4ct.service.schemas.feedback import (
    FeedbackBatchRequest,
    FeedbackBatchResponse,
    FeedbackRequest,
    FeedbackResponse,
)
from uq4ct.service.schemas.predict import FieldError

_REFUSED = (MALFORMED_JSON, TOO_LARGE, NOT_JSON, INVALID_FIELD, INTERNAL)
_NOT_TAKEN = (UNKNOWN_PREDICTION, LABEL_CONFLICT, PAST_RETENTION, NOT_VISIBLE_YET, LEDGER_UNAVAILABLE)

Labeller = Annotated[Caller, Depends(require(Scope.FEEDBACK))]

router = APIRouter(route_class=StrictJsonRoute, tags=["feedback"], responses=declare(UNAUTHORIZED, FORBIDDEN))


@router.post("/feedback", responses=declare(*_REFUSED, *_NOT_TAKEN))
async def give_feedback(body: FeedbackRequest, context: ContextOf, caller: Labeller) -> FeedbackResponse:
    """Tell the true option; the answer 200 means that it is stored, and the same label again changes nothing."""
    outcome = await _take(context, caller, body)
    if isinstance(outcome, ProblemError):
        raise outcome
    return outcome


@router.post("/feedback/batch", responses=declare(*_REFUSED))
async def give_feedback_batch(
    request: Request, body: FeedbackBatchRequest, context: ContextOf, caller: Labeller
) -> FeedbackBatchResponse:
    """Tell several true options, each by itself: a result is an answer or a problem, in their order."""
    limit = context.settings.max_client_batch_size
    if not body.feedback:
        raise invalid_fields([FieldError(field="feedback", message="is empty")])
    if len(body.feedback) > limit:
        raise ProblemError(TOO_LARGE, f"{len(body.feedback)} labels in a batch of at most {limit}", limit=limit)
    outcomes: list[FeedbackResponse | ProblemError] = []
    for item in body.feedback:
        # One after the other, and not at all any more once the ledger is gone: each try would wait for it again.
        gone = bool(outcomes) and isinstance(outcomes[-1], ProblemError) and outcomes[-1].kind is LEDGER_UNAVAILABLE
        outcomes.append(outcomes[-1] if gone else await _take(context, caller, _read_item(item)))
    request_id = request.state.request_id
    return FeedbackBatchResponse(
        results=[item.document(request_id) if isinstance(item, ProblemError) else item for item in outcomes]
    )


async def _take(
    context: Context, caller: Caller, item: FeedbackRequest | ProblemError
) -> FeedbackResponse | ProblemError:
    if isinstance(item, ProblemError):
        return item
    try:
        taken = await context.ledger.label(Feedback(item.prediction_id, item.answer, item.source), caller.tenant)
    except Exception as error:
        return explain(error)
    return FeedbackResponse(prediction_id=item.prediction_id, result=taken.value)


def _read_item(item: object) -> FeedbackRequest | ProblemError:
    try:
        return FeedbackRequest.model_validate(item)
    except ValidationError as error:
        return invalid_fields(field_errors(error.errors(include_url=False)))
