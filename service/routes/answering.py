"""Shared by all prediction routes: pass questions to the engine and return answers or problems, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from fastapi import Request
from opentelemetry import trace

from uq4ct.model_store.questions import Question, count_characters
from uq4ct.service.access.rate_limit import RateLimitedError
from uq4ct.service.context import Context
from uq4ct.service.engine.failures import DrainingError, NotReadyError, QueueFullError, RequestTooLargeError
from uq4ct.service.engine.predictor import Ask, Served
from uq4ct.service.engine.requests import CHARACTERS_IN_THE_LOOP
from uq4ct.service.http.guards import charge, identify
from uq4ct.service.http.kinds import CLIENT_GONE
from uq4ct.service.http.problems import ProblemError, explain
from uq4ct.service.ledger.failures import LedgerUnavailableError
from uq4ct.service.routes.recording import Asked, Recording
from uq4ct.service.schemas.predict import PredictRequest, PredictResponse
from uq4ct.service.telemetry.metrics import REJECTIONS

T = TypeVar("T")

_ITEMS_IN_A_ROW = 16  # answers of a batch that are recorded before others in the event loop get a turn
_NONE_ANSWERED = (
    RateLimitedError,
    NotReadyError,
    DrainingError,
    QueueFullError,
    RequestTooLargeError,
    LedgerUnavailableError,
    ProblemError,
)


async def answer_items(
    request: Request, context: Context, items: Sequence[PredictRequest | ProblemError]
) -> list[PredictResponse | ProblemError]:
    """Answer each item or explain why not, in order; items that are already problems are returned as they are.

    Raises:
        ProblemError: no item is answered: rate limited, not ready, draining, queue full, no place in a required ledger,
            or the client has disconnected.
    """
    try:
        charge(request, len(items))
        context.engine.check_room(len(items))
        with context.ledger.places(len(items)):
            recording = Recording(context, identify(request))
            asked, served = await _unless_gone(request, _ask(context, recording, items))
            outcomes = [outcome async for outcome in _respond_to_each(recording, asked, served)]
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
    """Return what is known of each item without the model, and the engine's outcomes for the others, in order.

    Raises:
        LedgerUnavailableError: the idempotency keys could not be looked up in time.
    """
    prepared = await _prepare(items)
    try:
        async with asyncio.timeout(context.settings.request_timeout_seconds):
            asked = await recording.recall(items, prepared)
    except TimeoutError as error:
        raise LedgerUnavailableError("not read in time") from error
    asks = [Ask(item.question, item.body.model) for item in asked if isinstance(item, Asked)]
    return asked, iter(await context.engine.submit(asks))


async def _respond_to_each(
    recording: Recording, asked: Sequence[Asked | PredictResponse | ProblemError], served: Iterator[Served | Exception]
) -> AsyncIterator[PredictResponse | ProblemError]:
    for number, item in enumerate(asked, start=1):
        yield await _respond(recording, item, next(served)) if isinstance(item, Asked) else item
        if number % _ITEMS_IN_A_ROW == 0:
            await asyncio.sleep(0)


async def _respond(recording: Recording, asked: Asked, outcome: Served | Exception) -> PredictResponse | ProblemError:
    if isinstance(outcome, Exception):
        return explain(outcome)
    kept = await recording.keep(asked, outcome)
    if isinstance(kept, ProblemError):
        return kept
    return PredictResponse.from_answer(kept, asked.question.options)


async def _prepare(items: Sequence[PredictRequest | ProblemError]) -> list[Question | ProblemError]:
    """Check the questions character by character; use a thread if there are many characters."""
    bodies = [item for item in items if isinstance(item, PredictRequest)]
    characters = sum(count_characters(body.question, body.options, body.context) for body in bodies)
    if characters <= CHARACTERS_IN_THE_LOOP:
        return _read_questions(items)
    return await asyncio.to_thread(_read_questions, items)


def _read_questions(items: Sequence[PredictRequest | ProblemError]) -> list[Question | ProblemError]:
    return [item if isinstance(item, ProblemError) else _read_question(item) for item in items]


def _read_question(body: PredictRequest) -> Question | ProblemError:
    try:
        return Question("", body.question, tuple(body.options), body.context)
    except Exception as error:
        return explain(error)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`, or cancel it if the client disconnects.

    Raises:
        ProblemError: the client has disconnected.
    """
    answer = asyncio.create_task(work)
    gone = asyncio.create_task(_wait_for_disconnect(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ProblemError(CLIENT_GONE, "the connection was closed before the answer")
        return answer.result()
    finally:
        answer.cancel()
        gone.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
