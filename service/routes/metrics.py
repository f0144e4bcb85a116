"""GET /metrics: the Prometheus exposition of this replica."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from uq4ct.service.context import ContextOf
from uq4ct.service.http.declarations import NO_KEY, declare
from uq4ct.service.http.kinds import FOREIGN_HOST

_EXAMPLE = """# HELP uq4ct_ready 1 while /health/ready returns 200
# TYPE uq4ct_ready gauge
uq4ct_ready 1.0
"""

router = APIRouter(tags=["metrics"])


@router.get(
    "/metrics",
    response_class=Response,
    responses=declare(FOREIGN_HOST)
    | {
        200: {
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
            "description": "Prometheus text",
        }
    },
    openapi_extra=NO_KEY,
)
async def metrics(context: ContextOf) -> Response:
    """Counters, histograms and gauges of this replica."""
    return Response(await context.exposition.render(), media_type=CONTENT_TYPE_LATEST)
