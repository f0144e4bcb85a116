"""POST /predict and /predict/batch: questions as JSON objects."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from uq4ct.service.context import ContextOf
from uq4ct.service.http.declarations import declare
from uq4ct.service.http.guards import Scope, require
from uq4ct.service.http.kinds import (
    ANSWERING,
    ASKING,
    AUTHENTICATED,
    IDEMPOTENCY_CONFLICT,
    JSON_BODY,
    LEDGER_UNAVAILABLE,
    TOO_LARGE,
)
from uq4ct.service.http.problems import ProblemError
from uq4ct.service.http.responses import write_in_thread
from uq4ct.service.http.strict_json import StrictJsonRoute
from uq4ct.service.routes.answering import answer_items
from uq4ct.service.routes.batches import read_items, show_results
from uq4ct.service.schemas.common import FieldError
from uq4ct.service.schemas.predict import BatchRequest, BatchResponse, PredictRequest, PredictResponse

_REFUSED = (*JSON_BODY, *ASKING, LEDGER_UNAVAILABLE)
_NO_QUESTIONS = FieldError(field="questions", message="is empty")


router = APIRouter(
    route_class=StrictJsonRoute,
    tags=["predict"],
    dependencies=[Depends(require(Scope.PREDICT, asks=True))],
    responses=declare(*AUTHENTICATED),
)


@router.post("/predict", responses=declare(*_REFUSED, *ANSWERING, IDEMPOTENCY_CONFLICT))
async def predict(request: Request, body: PredictRequest, context: ContextOf) -> PredictResponse:
    """Answer one question."""
    (outcome,) = await answer_items(request, context, [body])
    if isinstance(outcome, ProblemError):
        raise outcome
    return outcome


@router.post("/predict/batch", responses=declare(*_REFUSED, invalid=_NO_QUESTIONS), response_model=BatchResponse)
async def predict_batch(request: Request, body: BatchRequest, context: ContextOf) -> Response:
    """Answer several questions independently: one answer or problem per question, in the same order.

    Either all questions are admitted or the whole batch is rejected.
    """
    limit, count = context.settings.max_client_batch_size, len(body.questions)
    if count > limit:
        context.metrics.rejected.labels(TOO_LARGE.reason).inc(count)
    items = read_items(PredictRequest, body.questions, "questions", limit, noun="questions")
    outcomes = await answer_items(request, context, items)
    return await write_in_thread(lambda: BatchResponse(results=show_results(outcomes, request.state.request_id)))
