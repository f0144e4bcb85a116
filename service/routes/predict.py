"""POST /predict and /predict/batch: one door to the engine for both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request
from opentelemetry import trace
from pydantic import ValidationError

from model_store.decisions import decide
from model_store.questions import LABELS, Question
from service.context import Context, ContextOf
from service.engine.failures import DrainingError, NotReadyError, QueueFullError, RequestTooLargeError
from service.engine.predictor import Ask, Served
from service.errors import (
    CLIENT_GONE,
    DEADLINE_PASSED,
    DRAINING,
    FORBIDDEN,
    FORWARD_FAILED,
    INTERNAL,
    INVALID_FIELD,
    MALFORMED_JSON,
    MODEL_UNLOADABLE,
    NOT_JSON,
    NOT_READY,
    QUESTION_TOO_LONG,
    QUEUE_FULL,
    RATE_LIMITED,
    TOO_LARGE,
    UNAUTHORIZED,
    UNKNOWN_MODEL,
    WRONG_BASE,
    ProblemError,
    declare,
    explain,
    field_errors,
    invalid_fields,
)
from service.rate_limit import RateLimitedError
from service.schemas import (
    BatchRequest,
    BatchResponse,
    FieldError,
    LabelProbability,
    Option,
    PredictRequest,
    PredictResponse,
    Uncertainty,
)
from service.security import Scope, charge, require
from service.strict_json import StrictJsonRoute

T = TypeVar("T")

_REFUSED = (MALFORMED_JSON, TOO_LARGE, NOT_JSON, INVALID_FIELD, QUEUE_FULL, RATE_LIMITED, INTERNAL, NOT_READY, DRAINING)
_UNANSWERED = (
    UNKNOWN_MODEL,
    MODEL_UNLOADABLE,
    WRONG_BASE,
    QUESTION_TOO_LONG,
    FORWARD_FAILED,
    DEADLINE_PASSED,
)
_REJECTIONS = {
    QUEUE_FULL: "queue_full",
    RATE_LIMITED: "rate_limited",
    TOO_LARGE: "too_large",
    NOT_READY: "not_ready",
    DRAINING: "draining",
    CLIENT_GONE: "client_gone",
    QUESTION_TOO_LONG: "question_too_long",
    DEADLINE_PASSED: "deadline_passed",
}
_CHARACTERS_IN_THE_LOOP = 2000  # checked faster than another thread gets its turn

router = APIRouter(
    route_class=StrictJsonRoute,
    tags=["predict"],
    dependencies=[Depends(require(Scope.PREDICT, asks=True))],
    responses=declare(UNAUTHORIZED, FORBIDDEN),
)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that can be put to the engine, as its client sent it and as the engine takes it."""

    body: PredictRequest
    ask: Ask


@router.post("/predict", responses=declare(*_REFUSED, *_UNANSWERED))
async def predict(request: Request, body: PredictRequest, context: ContextOf) -> PredictResponse:
    """Answer one question."""
    (outcome,) = await answer_items(request, context, [body])
    if isinstance(outcome, ProblemError):
        raise outcome
    return outcome


@router.post("/predict/batch", responses=declare(*_REFUSED))
async def predict_batch(request: Request, body: BatchRequest, context: ContextOf) -> BatchResponse:
    """Answer several questions, each by itself: a result is an answer or a problem, in the order of the questions.

    Either all of them are admitted or the whole batch is refused.
    """
    limit = context.settings.max_client_batch_size
    if not body.questions:
        raise invalid_fields([FieldError(field="questions", message="is empty")])
    if len(body.questions) > limit:
        raise ProblemError(TOO_LARGE, f"{len(body.questions)} questions in a batch of at most {limit}", limit=limit)
    outcomes = await answer_items(request, context, [_read_item(item) for item in body.questions])
    request_id = request.state.request_id
    return BatchResponse(
        results=[item.document(request_id) if isinstance(item, ProblemError) else item for item in outcomes]
    )


async def answer_items(
    request: Request, context: Context, items: Sequence[PredictRequest | ProblemError]
) -> list[PredictResponse | ProblemError]:
    """Answer each item or say why not, in order; an item that is a problem already stays one.

    Raises:
        ProblemError: none is answered: rate limited, not ready, draining, queue full, or the client has gone.
    """
    try:
        charge(request, len(items))
        context.engine.check_room(len(items))
        prepared = await _prepare(items)
        asks = [item.ask for item in prepared if isinstance(item, _Asked)]
        served = iter(await _unless_gone(request, context.engine.submit(asks)))
    except (
        RateLimitedError,
        NotReadyError,
        DrainingError,
        QueueFullError,
        RequestTooLargeError,
        ProblemError,
    ) as error:
        problem = explain(error)
        context.metrics.rejected.labels(_REJECTIONS[problem.kind]).inc(len(items))
        raise problem from error
    outcomes = [_respond(context, item, next(served)) if isinstance(item, _Asked) else item for item in prepared]
    models = sorted({outcome.model for outcome in outcomes if isinstance(outcome, PredictResponse)})
    trace.get_current_span().set_attribute("uq4ct.models", models)
    return outcomes


def _read_item(item: object) -> PredictRequest | ProblemError:
    try:
        return PredictRequest.model_validate(item)
    except ValidationError as error:
        return invalid_fields(field_errors(error.errors(include_url=False)))


async def _prepare(items: Sequence[PredictRequest | ProblemError]) -> list[_Asked | ProblemError]:
    """Check what needs a look at every character, in a thread where there are many."""
    characters = sum(_characters(item) for item in items if isinstance(item, PredictRequest))
    if characters <= _CHARACTERS_IN_THE_LOOP:
        return _ask_all(items)
    return await asyncio.to_thread(_ask_all, items)


def _characters(body: PredictRequest) -> int:
    return len(body.question) + len(body.context or "") + sum(map(len, body.options))


def _ask_all(items: Sequence[PredictRequest | ProblemError]) -> list[_Asked | ProblemError]:
    return [item if isinstance(item, ProblemError) else _ask(item) for item in items]


def _ask(body: PredictRequest) -> _Asked | ProblemError:
    try:
        return _Asked(body, Ask(Question("", body.question, tuple(body.options), body.context), body.model))
    except Exception as error:
        return explain(error)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client closes the connection.

    Raises:
        ProblemError: the client has gone.
    """
    answer = asyncio.create_task(work)
    gone = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ProblemError(CLIENT_GONE, "closed before the answer")
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _respond(context: Context, asked: _Asked, outcome: Served | Exception) -> PredictResponse | ProblemError:
    if isinstance(outcome, Exception):
        problem = explain(outcome)
        if problem.kind in _REJECTIONS:
            context.metrics.rejected.labels(_REJECTIONS[problem.kind]).inc()
        return problem
    answer, manifest = outcome.answer, outcome.manifest
    decision = decide(answer.probabilities, manifest.decisions, asked.body.abstain_below, asked.body.coverage)
    context.metrics.count_prediction(manifest, answer)
    return PredictResponse(
        prediction_id=context.prediction_ids.new(),
        model=manifest.reference,
        method=manifest.method,
        option=Option(index=answer.option, label=LABELS[answer.option], text=asked.ask.question.options[answer.option]),
        confidence=answer.confidence,
        probabilities=[
            LabelProbability(label=label, probability=probability)
            for label, probability in zip(LABELS, answer.probabilities, strict=False)
        ],
        feu=answer.feu,
        uncertainty=Uncertainty(total=answer.total, aleatoric=answer.aleatoric, epistemic=answer.epistemic),
        abstain=decision.abstain,
        abstain_reason=decision.reason,
        threshold=decision.threshold,
        prediction_set=None if decision.options is None else [LABELS[index] for index in decision.options],
        coverage=decision.coverage,
    )
