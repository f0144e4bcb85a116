"""GET /, /docs and their files: the operator's pages. They contain no data and call the API like any other client."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from uq4ct.service.http.entity_tags import entity_tag, is_known
from uq4ct.service.http.problems import ProblemError

HTML = "text/html; charset=utf-8"
_TYPES = {
    ".html": HTML,
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Browsers cache the files but revalidate them each time, so that an old script never meets a new API.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page with its media type and entity tag."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, file: Traversable, media_type: str) -> PageFile:
        """Read a file of the package."""
        content = file.read_bytes()
        return cls(content, media_type, entity_tag(content))

    def respond(self, if_none_match: str | None) -> Response:
        """Return the file, or 304 if the browser already has it."""
        headers = {**_HEADERS, "ETag": self.etag}
        if is_known(if_none_match, self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)

    def refuse(self, problem: ProblemError) -> Response:
        """Return the file in place of a problem document, with its status and headers; browsers must not keep it."""
        headers = {**_HEADERS, **(problem.headers or {}), "Cache-Control": "no-store", "Vary": "Accept"}
        return Response(self.content, problem.status_code, headers, self.media_type)


def _read_page() -> dict[str, PageFile]:
    found = ((file, PurePath(file.name).suffix) for file in files("uq4ct.service.page").iterdir())
    return {file.name: PageFile.read(file, _TYPES[suffix]) for file, suffix in found if suffix in _TYPES}


# Requested names are looked up here, so that no path can lead outside the package.
PAGE = _read_page()


@router.get("/")
async def show_page(request: Request) -> Response:
    """Return the page itself."""
    return PAGE["index.html"].respond(request.headers.get("if-none-match"))


@router.get("/docs")
async def show_docs(request: Request) -> Response:
    """Return the page that shows the OpenAPI document."""
    return PAGE["docs.html"].respond(request.headers.get("if-none-match"))


@router.get("/page/{name}")
async def show_page_file(request: Request, name: str) -> Response:
    """Return a script, style sheet or image of the page.

    Raises:
        HTTPException: 404, there is no such file.
    """
    if name not in PAGE:
        raise HTTPException(404)
    return PAGE[name].respond(request.headers.get("if-none-match"))
