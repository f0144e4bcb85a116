"""GET /metrics: the Prometheus exposition of this replica."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
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
    return Response(await context.exposition.render(), media_type=CONTENT_TYPE_LATEST)
