"""POST /predict and /predict/batch: one door to the engine for both."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request
from opentelemetry import trace
from pydantic import ValidationError

from uq4ct.model_store.decisions import decide
from uq4ct.model_store.questions import LABELS, Question
from uq4ct.service.access.rate_limit import RateLimitedError
from uq4ct.service.context import Context, ContextOf
from uq4ct.service.engine.failures import DrainingError, NotReadyError, QueueFullError, RequestTooLargeError
from uq4ct.service.engine.predictor import Ask, Served
from uq4ct.service.http.guards import Scope, charge, identify, require
from uq4ct.service.http.problems import (
    CLIENT_GONE,
    DEADLINE_PASSED,
    DRAINING,
    FORBIDDEN,
    FORWARD_FAILED,
    IDEMPOTENCY_CONFLICT,
    INTERNAL,
    INVALID_FIELD,
    LEDGER_UNAVAILABLE,
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
from uq4ct.service.http.strict_json import StrictJsonRoute
from uq4ct.service.ledger.failures import LedgerUnavailableError
from uq4ct.service.routes.recording import Asked, Recording
from uq4ct.service.schemas.predict import (
    BatchRequest,
    BatchResponse,
    FieldError,
    LabelProbability,
    Option,
    PredictRequest,
    PredictResponse,
    Uncertainty,
)
from uq4ct.service.telemetry.metrics import REJECTIONS

T = TypeVar("T")

_BAD_REQUEST = (MALFORMED_JSON, TOO_LARGE, NOT_JSON, INVALID_FIELD)
_REFUSED = (*_BAD_REQUEST, QUEUE_FULL, RATE_LIMITED, INTERNAL, NOT_READY, DRAINING, LEDGER_UNAVAILABLE)
_UNANSWERED = (
    UNKNOWN_MODEL,
    MODEL_UNLOADABLE,
    WRONG_BASE,
    QUESTION_TOO_LONG,
    FORWARD_FAILED,
    IDEMPOTENCY_CONFLICT,
    DEADLINE_PASSED,
)
_CHARACTERS_IN_THE_LOOP = 2000  # checked faster than another thread gets its turn
_NONE_ANSWERED = (
    RateLimitedError,
    NotReadyError,
    DrainingError,
    QueueFullError,
    RequestTooLargeError,
    LedgerUnavailableError,
    ProblemError,
)

router = APIRouter(
    route_class=StrictJsonRoute,
    tags=["predict"],
    dependencies=[Depends(require(Scope.PREDICT, asks=True))],
    responses=declare(UNAUTHORIZED, FORBIDDEN),
)


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
        context.metrics.rejected.labels(TOO_LARGE.reason).inc(len(body.questions))
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
        ProblemError: none is answered: rate limited, not ready, draining, queue full, no place in a ledger that is
            required, or the client has gone.
    """
    try:
        charge(request, len(items))
        context.engine.check_room(len(items))
        with context.ledger.places(len(items)):
            recording = Recording(context, identify(request))
            asked, served = await _unless_gone(request, _ask(context, recording, items))
            outcomes = [
                await _respond(context, recording, item, next(served)) if isinstance(item, Asked) else item
                for item in asked
            ]
    except _NONE_ANSWERED as error:
        problem = explain(error)
        context.metrics.rejected.labels(problem.kind.reason).inc(len(items))
        raise problem from error
    for outcome in outcomes:
        if isinstance(outcome, ProblemError) and outcome.kind.reason in REJECTIONS:
            context.metrics.rejected.labels(outcome.kind.reason).inc()
    models = sorted({outcome.model for outcome in outcomes if isinstance(outcome, PredictResponse)})
    trace.get_current_span().set_attribute("uq4ct.models", models)
    return outcomes


async def _ask(
    context: Context, recording: Recording, items: Sequence[PredictRequest | ProblemError]
) -> tuple[list[Asked | PredictResponse | ProblemError], Iterator[Served | Exception]]:
    """Each item as far as it is known without the model, and what the engine says to the rest, in order.

    Raises:
        LedgerUnavailableError: it does not say in time which keys it knows.
    """
    prepared = await _prepare(items)
    try:
        async with asyncio.timeout(context.settings.request_timeout_seconds):
            asked = await recording.recall(items, prepared)
    except TimeoutError as error:
        raise LedgerUnavailableError("not read in time") from error
    asks = [Ask(item.question, item.body.model) for item in asked if isinstance(item, Asked)]
    return asked, iter(await context.engine.submit(asks))


def _read_item(item: object) -> PredictRequest | ProblemError:
    try:
        return PredictRequest.model_validate(item)
    except ValidationError as error:
        return invalid_fields(field_errors(error.errors(include_url=False)))


async def _prepare(items: Sequence[PredictRequest | ProblemError]) -> list[Question | ProblemError]:
    """Check what needs a look at every character, in a thread where there are many."""
    characters = sum(_characters(item) for item in items if isinstance(item, PredictRequest))
    if characters <= _CHARACTERS_IN_THE_LOOP:
        return _read_questions(items)
    return await asyncio.to_thread(_read_questions, items)


def _characters(body: PredictRequest) -> int:
    return len(body.question) + len(body.context or "") + sum(map(len, body.options))


def _read_questions(items: Sequence[PredictRequest | ProblemError]) -> list[Question | ProblemError]:
    return [item if isinstance(item, ProblemError) else _read_question(item) for item in items]


def _read_question(body: PredictRequest) -> Question | ProblemError:
    try:
        return Question("", body.question, tuple(body.options), body.context)
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


async def _respond(
    context: Context, recording: Recording, asked: Asked, outcome: Served | Exception
) -> PredictResponse | ProblemError:
    if isinstance(outcome, Exception):
        return explain(outcome)
    answer, manifest = outcome.answer, outcome.manifest
    decision = decide(answer.probabilities, manifest.decisions, asked.body.abstain_below, asked.body.coverage)
    response = PredictResponse(
        prediction_id=context.prediction_ids.new(),
        model=manifest.reference,
        method=manifest.method,
        option=Option(index=answer.option, label=LABELS[answer.option], text=asked.question.options[answer.option]),
        confidence=answer.confidence,
        probabilities=[
            LabelProbability(label=label, probability=probability)
            for label, probability in zip(LABELS, answer.probabilities, strict=False)
        ],
        feu=answer.feu,
        uncertainty=Uncertainty(
            total=answer.total,
            aleatoric=answer.aleatoric,
            epistemic=answer.epistemic,
            error_score=answer.error_score,
        ),
        abstain=decision.abstain,
        abstain_reason=decision.reason,
        threshold=decision.threshold,
        prediction_set=None if decision.options is None else [LABELS[index] for index in decision.options],
        coverage=decision.coverage,
    )
    return await recording.keep(asked, manifest, response)
