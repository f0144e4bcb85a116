"""GET /docs and /openapi.json."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document; `servers` has the path prefix that a proxy removes, if it is set."""
    document: dict[str, Any] = request.app.openapi()
    prefix = request.scope.get("root_path")
    return JSONResponse({**document, "servers": [{"url": prefix}]} if prefix else document)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The page that renders the OpenAPI document; its address is relative, so that a path prefix works."""
    return get_swagger_ui_html(openapi_url="openapi.json", title=request.app.title)
