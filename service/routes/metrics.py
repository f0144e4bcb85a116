"""GET /metrics: the Prometheus exposition of this replica."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from service.context import ContextOf

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text"}},
)
async def metrics(context: ContextOf) -> Response:
    """Counters, histograms and states of this replica."""
    return Response(generate_latest(context.metrics.registry), media_type=CONTENT_TYPE_LATEST)
