"""GET /docs and /openapi.json for callers with a key; without DOCS_NEED_KEY, FastAPI serves its own."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, JSONResponse

from uq4ct.service.http.guards import Scope, require

router = APIRouter(dependencies=[Depends(require(Scope.PREDICT))], include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """The page that renders the OpenAPI document."""
    return get_swagger_ui_html(openapi_url="/openapi.json", title=request.app.title)
