"""Per request: an id, metrics, one log line, and a response to an unexpected error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from uq4ct.service.http.handlers import problem_response
from uq4ct.service.http.problems import INTERNAL_ERROR, OUT_OF_MEMORY_ERROR
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.telemetry.request_ids import accept_request_id

_UNMATCHED = "unmatched"
QUIET_ROUTES = ("/health/live", "/health/ready", "/metrics", "/v2/health/live", "/v2/health/ready")

ANSWERING_ROUTES = (
    "/predict",
    "/predict/batch",
    "/v2/models/{name}/infer",
    "/v2/models/{name}/versions/{version}/infer",
)

logger = logging.getLogger(__name__)


class RequestTelemetry:
    """Pure ASGI, so that the wrapped app keeps its context and can watch for a disconnect."""

    def __init__(self, app: ASGIApp, metrics: Metrics, new_id: Callable[[], str]) -> None:
        self._app = app
        self._metrics = metrics
        self._new_id = new_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = accept_request_id(Headers(scope=scope).get("x-request-id")) or self._new_id()
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.monotonic()
        code = 0

        async def send_with_id(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            logger.exception("request failed", extra={"request_id": request_id})
            if code:
                raise  # the response has started: only a broken connection can still signal the failure
            problem = OUT_OF_MEMORY_ERROR if isinstance(error, MemoryError) else INTERNAL_ERROR
            await problem_response(problem, scope)(scope, receive, send_with_id)
        finally:
            self._record(scope, code, request_id, time.monotonic() - started)

    def _record(self, scope: Scope, code: int, request_id: str, seconds: float) -> None:
        route = _template(scope)
        self._metrics.requests.labels(route, str(code)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        if route in ANSWERING_ROUTES and code == 200:
            self._metrics.recent.add(seconds)
        caller = scope["state"].get("caller")
        entry: dict[str, object] = {
            "request_id": request_id,
            "key_id": caller and caller.key_id,
            "tenant": caller and caller.tenant,
            "route": route,
            "code": code,
            "seconds": round(seconds, 6),
        }
        span = trace.get_current_span().get_span_context()  # FastAPI's span, if tracing is on
        if span.is_valid:
            entry["trace_id"] = trace.format_trace_id(span.trace_id)
        logger.log(logging.DEBUG if route in QUIET_ROUTES else logging.INFO, "request", extra=entry)


def _template(scope: Scope) -> str:
    """Return the route's path with parameter names: metric labels must not contain values that clients choose."""
    route: Any = scope.get("route")
    return getattr(route, "path", _UNMATCHED)
