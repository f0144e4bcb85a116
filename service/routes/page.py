"""GET / and its files: the operator's page. It holds no data; what it shows it asks of the API, as any client does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Kept by browsers, and asked for again each time: after an update no old script meets a new API.
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
    """A file of the page as it is sent."""

    content: bytes
    media_type: str
    etag: str

    @classmethod
    def read(cls, file: Traversable, media_type: str) -> PageFile:
        """A file of the package."""
        content = file.read_bytes()
        return cls(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')

    def respond(self, if_none_match: str | None) -> Response:
        """The file, or 304 where the browser has it already."""
        headers = {**_HEADERS, "ETag": self.etag}
        if if_none_match is not None and _names(if_none_match, self.etag):
            return Response(status_code=304, headers=headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def _read_page() -> dict[str, PageFile]:
    found = ((file, PurePath(file.name).suffix) for file in files("uq4ct.service.page").iterdir())
    return {file.name: PageFile.read(file, _TYPES[suffix]) for file, suffix in found if suffix in _TYPES}


# Whatever is asked for is looked up here, so that no path can lead out of the package.
PAGE = _read_page()


@router.get("/")
async def show_page(request: Request) -> Response:
    """The page itself."""
    return PAGE["index.html"].respond(request.headers.get("if-none-match"))


@router.get("/page/{name}")
async def show_page_file(request: Request, name: str) -> Response:
    """One of its scripts, styles and pictures.

    Raises:
        HTTPException: 404, there is no such file.
    """
    if name not in PAGE:
        raise HTTPException(404)
    return PAGE[name].respond(request.headers.get("if-none-match"))


def _names(if_none_match: str, etag: str) -> bool:
    """Whether the header names the tag; strong or weak is the same here (RFC 9110, section 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return bool(tags & {etag, "*"})
