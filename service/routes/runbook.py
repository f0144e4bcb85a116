"""GET /runbook, to which the links of the alerts lead; like the other pages, it contains no data."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from uq4ct.service.http.entity_tags import entity_tag
from uq4ct.service.routes.page import HTML, PageFile
from uq4ct.service.runbook.rendering import read_runbook

router = APIRouter(include_in_schema=False)

_CONTENT = read_runbook().encode()
_RUNBOOK = PageFile(_CONTENT, HTML, entity_tag(_CONTENT))


@router.get("/runbook")
async def show_runbook(request: Request) -> Response:
    """Return the runbook; the anchor of a section is the name of its alert in lower case."""
    return _RUNBOOK.respond(request.headers.get("if-none-match"))
