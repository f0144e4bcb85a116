"""GET /openapi.json, which the page /docs shows."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse, Response

from uq4ct.service.http.kinds import UNAUTHORIZED
from uq4ct.service.http.problems import ProblemError
from uq4ct.service.http.strict_json import Handler
from uq4ct.service.routes.page import PAGE
from uq4ct.service.schemas.examples import example_of


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


# What the document says of the whole API; arguments of FastAPI.
ABOUT: dict[str, Any] = {
    "title": "Multiple-choice answers with calibrated confidence",
    "description": "Ask multiple-choice questions. Each answer has a confidence that agrees with the accuracy, and "
    "says when not to act on it. Report the right options later, and the service compares them with its confidence.\n\n"
    "Errors are problem documents (RFC 9457); under `/v2`, error objects of the Open Inference Protocol.",
    "license_info": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    "servers": [{"url": "/"}],
    "openapi_tags": [
        {"name": "predict", "description": "Ask questions."},
        {"name": "open inference protocol", "description": "The same in version 2 of the Open Inference Protocol."},
        {"name": "feedback", "description": "Report right options, and look up answers."},
        {"name": "calibration", "description": "Compare the confidence with the labels."},
        {"name": "models", "description": "List, load, unload and promote models."},
        {"name": "health", "description": "Whether the replica runs and accepts questions."},
        {"name": "metrics", "description": "Numbers for Prometheus."},
    ],
}

router = APIRouter(include_in_schema=False, route_class=AskForKeyRoute)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document; `servers` has the path prefix that a proxy removes, or the root."""
    document = describe(request.app)
    prefix = request.scope.get("root_path")
    return JSONResponse({**document, "servers": [{"url": prefix}]} if prefix else document)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document with an example of each body, which FastAPI would write without its nulls."""
    document = app.openapi()  # kept by FastAPI, so that a second call changes nothing
    schemas = document["components"]["schemas"]
    for operations in document["paths"].values():
        for operation in operations.values():
            answer = operation["responses"]["200"]
            for part in (operation.get("requestBody", {}), answer):
                for media in part.get("content", {}).values():
                    _add_example(media)
            name = _body_of(answer["content"].get("application/json", {}))
            answer["description"] = schemas[name]["description"] if name else answer["description"]
    return document


def _add_example(media: dict[str, Any]) -> None:
    name = _body_of(media)
    if name is not None:
        media["example"] = example_of(name)


def _body_of(media: dict[str, Any]) -> str | None:
    """Return the name of the class whose objects a body has; None for text."""
    reference = media.get("schema", {}).get("$ref")
    return None if reference is None else reference.rpartition("/")[2]


def _takes_pages(request: Request) -> bool:
    """Whether a browser opens the address: scripts and other programs do not name HTML in Accept."""
    return any("text/html" in accept for accept in request.headers.getlist("accept"))
