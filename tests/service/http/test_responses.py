"""Responses that may be large are built and written while the event loop runs on."""

from __future__ import annotations

import asyncio
import json
import time
import typing
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.responses import Response

from tests.service.conftest import Start
from uq4ct.service.http.responses import write_in_pieces, write_in_thread
from uq4ct.service.routes.open_inference.schemas import ModelMetadata
from uq4ct.service.schemas.common import FieldError, Problem
from uq4ct.service.schemas.feedback import FeedbackBatchResponse, FeedbackResponse, PredictionView
from uq4ct.service.schemas.models import PromotionHistory
from uq4ct.service.schemas.predict import PredictResponse

pytestmark = pytest.mark.anyio

# Bodies with short lists only: at most 26 options, 3 inputs, 11 outputs and 100 promotions.
SMALL = (PredictResponse, PredictionView, ModelMetadata, PromotionHistory)


# Writing them takes 0.1 s: many times the 5 ms for which a thread keeps the interpreter lock when another one waits.
LARGE = 100_000


def receipts(count: int) -> FeedbackBatchResponse:
    return FeedbackBatchResponse(
        results=[FeedbackResponse(prediction_id="0" * 36, result="accepted") for _ in range(count)]
    )


PROBLEM = Problem(
    type="t", title='"quoted"', status=422, detail="é\n", request_id="r", errors=[FieldError(field="a", message="b")]
)


@pytest.mark.parametrize(
    "body",
    [
        receipts(3),
        receipts(0),
        FeedbackBatchResponse(results=[PROBLEM]),
        PROBLEM,
        FieldError(field="a", message="b"),
    ],
)
def test_in_pieces_a_body_is_the_same(body: BaseModel) -> None:
    assert json.loads(write_in_pieces(body)) == json.loads(body.model_dump_json())


async def smallest_pause_share(work: Callable[[], Awaitable[Any]]) -> float:
    """Return the longest time that the event loop did not run during `work` as a share of its duration.

    The smallest of some rounds: another process may take the core in one of them.
    """
    return min([await _pause_share(work) for _ in range(4)])


async def _pause_share(work: Callable[[], Awaitable[Any]]) -> float:
    task, begun = asyncio.ensure_future(work()), time.perf_counter()
    last, longest = begun, 0.0
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return longest / (last - begun)


async def test_the_event_loop_runs_while_a_large_body_is_written() -> None:
    body = receipts(LARGE)
    assert await smallest_pause_share(lambda: write_in_thread(lambda: body)) < 0.5


async def test_the_event_loop_runs_while_a_large_body_is_built() -> None:
    assert await smallest_pause_share(lambda: write_in_thread(lambda: receipts(LARGE))) < 0.5


def has_objects(field: Any) -> bool:
    """Whether a field is a list of objects."""
    arguments = typing.get_args(field.annotation)
    kinds = {kind for argument in arguments for kind in (argument, *typing.get_args(argument))}
    return typing.get_origin(field.annotation) is list and any(
        isinstance(kind, type) and issubclass(kind, BaseModel) for kind in kinds
    )


async def test_every_list_of_objects_is_written_in_a_thread(start: Start) -> None:
    """FastAPI would serialise a returned model in the event loop."""
    async with start() as replica:
        routes = [route for route in iter_route_contexts(replica.app.routes) if route.path]
    written = set()
    for route in routes:
        original: Any = route.original_route
        model = getattr(original, "response_model", None)
        if not isinstance(model, type) or not issubclass(model, BaseModel):
            continue
        if model not in SMALL and any(map(has_objects, model.model_fields.values())):
            assert typing.get_type_hints(original.endpoint)["return"] is Response, f"{route.path} returns {model}"
            written.add(route.path)
    assert written == {
        "/predict/batch", "/feedback/batch", "/models", "/calibration", "/calibration/history", "/predictions",
        "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer",
    }  # fmt: skip


async def test_others_get_a_turn_while_a_large_batch_is_recorded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [{"question": f"q{number}", "options": ["a", "b"]} for number in range(200)]
    turns, seen = 0, set[int]()

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with start(max_client_batch_size=200) as replica:
        monkeypatch.setattr(replica.context.ledger, "record", lambda record: seen.add(turns))
        other = asyncio.create_task(take_turns())
        response = await replica.client.post("/predict/batch", json={"questions": questions})
        other.cancel()
    assert len(response.json()["results"]) == 200
    assert len(seen) >= 200 // 16
