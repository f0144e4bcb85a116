"""Why the wire refuses what a connection sends."""

from __future__ import annotations

from uq4ct.service.http.kinds import Kind


class WireError(Exception):
    """A request that is refused before the application sees it, or sees the rest of it."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
