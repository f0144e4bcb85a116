"""Redirects that also work behind a proxy that removes a path prefix or speaks another scheme."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REDIRECT = 307
_KEPT = "!$&'()*+,;=:@~"  # characters that a path segment may contain unescaped (RFC 3986, section 3.3)


class RelativeRedirects:
    """Make the Location of redirects relative to the request. Pure ASGI.

    The only redirects are those of the router, from a path with slashes at its end to the one without: `/docs/` to
    `../docs`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == _REDIRECT:
                MutableHeaders(scope=message)["Location"] = _without_slash(scope["path"], scope["query_string"])
            await send(message)

        await self._app(scope, receive, send_relative)


def _without_slash(path: str, query: bytes) -> str:
    kept = path.rstrip("/")
    target = "../" * (len(path) - len(kept)) + quote(kept.rpartition("/")[2], safe=_KEPT)
    return f"{target}?{query.decode('latin-1')}" if query else target
