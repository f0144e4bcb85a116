"""GET /openapi.json, which the page /docs shows."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from uq4ct.service.http.kinds import UNAUTHORIZED
from uq4ct.service.http.problems import ProblemError
from uq4ct.service.http.strict_json import Handler
from uq4ct.service.routes.page import PAGE


class AskForKeyRoute(APIRoute):
    """A route that answers a browser without a valid key with the page of the API, which has a field for the key."""

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler, wrapped to show the page; other clients receive the problem document."""
        handle = super().get_route_handler()

        async def handle_or_ask(request: Request) -> Response:
            try:
                return await handle(request)
            except ProblemError as problem:
                if problem.kind is not UNAUTHORIZED or not _takes_pages(request):
                    raise
                return PAGE["docs.html"].refuse(problem)

        return handle_or_ask


router = APIRouter(include_in_schema=False, route_class=AskForKeyRoute)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document; `servers` has the path prefix that a proxy removes, if it is set."""
    document: dict[str, Any] = request.app.openapi()
    prefix = request.scope.get("root_path")
    return JSONResponse({**document, "servers": [{"url": prefix}]} if prefix else document)


def _takes_pages(request: Request) -> bool:
    """Whether a browser opens the address: scripts and other programs do not name HTML in Accept."""
    return any("text/html" in accept for accept in request.headers.getlist("accept"))
