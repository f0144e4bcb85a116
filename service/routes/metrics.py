"""GET /metrics: the Prometheus exposition of this replica."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from uq4ct.service.context import ContextOf
from uq4ct.service.http.kinds import FOREIGN_HOST, declare

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses=declare(FOREIGN_HOST)
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text"}},
)
async def metrics(context: ContextOf) -> Response:
    """Counters, histograms and gauges of this replica."""
    # With many tasks this takes tens of milliseconds and would block the event loop.
    text = await run_in_threadpool(generate_latest, context.metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
