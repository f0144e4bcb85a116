"""Problem documents written on the wire, where no application could send them."""

from __future__ import annotations

from http import HTTPStatus

from uq4ct.service.http.kinds import MEDIA_TYPE
from uq4ct.service.http.problems import ProblemError
from uq4ct.service.wire.failures import WireError


def refusal(error: WireError, request_id: str) -> bytes:
    """Return a complete response that ends the connection."""
    body = ProblemError(error.kind, error.detail).document(request_id).model_dump_json().encode()
    status = HTTPStatus(error.kind.status)
    headers = {
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Request-ID": request_id,
    }
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
