"""GET /openapi.json, which the page /docs shows."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document; `servers` has the path prefix that a proxy removes, if it is set."""
    document: dict[str, Any] = request.app.openapi()
    prefix = request.scope.get("root_path")
    return JSONResponse({**document, "servers": [{"url": prefix}]} if prefix else document)
