"""Why the wire refuses what a connection sends."""

from __future__ import annotations

from uq4ct.service.http.kinds import Kind

MALFORMED_REQUEST = Kind("malformed-request", 400, "The request is not well-formed HTTP/1.1")
TOO_SLOW = Kind("too-slow", 408, "The request did not arrive in time")
TARGET_TOO_LONG = Kind("target-too-long", 414, "The request target is too long")
HEAD_TOO_LARGE = Kind("head-too-large", 431, "The header of the request is too large")
UNSUPPORTED_REQUEST = Kind("unsupported-request", 501, "The server does not support this kind of request")
UNSUPPORTED_VERSION = Kind("unsupported-version", 505, "The server speaks HTTP/1.1 and HTTP/1.0")
TOO_MANY_CONNECTIONS = Kind("too-many-connections", 503, "Too many connections are open")


class WireError(Exception):
    """A request that is refused before the application sees it, or sees the rest of it."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
