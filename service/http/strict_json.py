"""Request bodies: check the content type, decode within the size limit, and parse strict JSON (RFC 8259)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from email.message import Message
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from uq4ct.model_store import strict_json
from uq4ct.model_store.strict_json import JsonError, TooManyFieldsError
from uq4ct.service.context import context_of
from uq4ct.service.http.content_coding import decoder_of
from uq4ct.service.http.guards import Guard, guards_of
from uq4ct.service.http.kinds import CLIENT_GONE, INVALID_FIELD, MALFORMED_JSON, NOT_JSON, TOO_LARGE
from uq4ct.service.http.problems import ProblemError, explain, shown

_BYTES_IN_THE_LOOP = 50_000  # of a body; above it, parsing takes milliseconds and runs in a thread
_MOST_FIELDS = 64  # per object: more than any valid body has, few enough that reporting each as invalid stays fast

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictJsonRoute(APIRoute):
    """A route that reads its body with `read_body` and `parse_json` instead of FastAPI's lenient parser."""

    def get_route_handler(self) -> Handler:
        """Return FastAPI's handler, wrapped to read the body strictly."""
        return read_strictly(
            super().get_route_handler(),
            lambda request: check_content_type(request.headers.get("content-type")),
            list(guards_of(self.dependant)),
        )


def read_strictly(handle: Handler, check: Callable[[Request], None], guards: Sequence[Guard]) -> Handler:
    """Wrap a handler: run `guards` and `check`, then decode and read the body strictly and pass the request on."""

    async def handle_strictly(request: Request) -> Response:
        for guard in guards:  # a dependency would run after the body is read
            await guard(request)
        check(request)
        body = await read_body(request, context_of(request).settings.payload_limit)
        return await handle(_StrictJsonRequest(request, body))

    return handle_strictly


class _StrictJsonRequest(Request):
    """A request with a body that was already read, declared as JSON so that FastAPI calls this parser."""

    def __init__(self, request: Request, body: bytes) -> None:
        headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
        headers.append((b"content-type", b"application/json"))
        super().__init__({**request.scope, "headers": headers}, request.receive)
        self._read = body

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> object:
        if len(self._read) <= _BYTES_IN_THE_LOOP:
            return parse_json(self._read)
        return await run_in_threadpool(parse_json, self._read)


def check_content_type(given: str | None) -> None:
    """Reject a body that is not declared as JSON.

    Raises:
        ProblemError: 415.
    """
    message = Message()
    message["content-type"] = given or ""
    if not given or message.get_content_type() != "application/json":
        raise ProblemError(NOT_JSON, f"Content-Type is {ascii(shown(given)) if given else 'missing'}")


async def read_body(request: Request, limit: int) -> bytes:
    """Read and decode the body, and count its bytes on the way: Content-Length may be absent or wrong.

    Raises:
        ProblemError: 413, more than `limit` bytes, decoded or as sent; 415, unsupported content coding; 400, the body
            is empty or badly coded; 499, the client disconnects before its end.
    """
    decoder = decoder_of(request.headers.getlist("content-encoding"))
    body, sent = bytearray(), 0
    try:
        async for chunk in request.stream():
            sent += len(chunk)
            body += decoder.decode(chunk, limit + 1 - len(body))
            if max(sent, len(body)) > limit:
                raise ProblemError(TOO_LARGE, f"the body is larger than {limit} bytes", limit=limit)
    except ClientDisconnect as error:
        raise ProblemError(CLIENT_GONE, "the connection was closed before the end of the body") from error
    decoder.finish()
    if not body:
        raise ProblemError(MALFORMED_JSON, "the body is empty")
    return bytes(body)


def parse_json(body: bytes) -> object:
    """Parse UTF-8 JSON; reject NaN, Infinity and duplicate keys in an object.

    Raises:
        ProblemError: 400; 422, an object has so many fields that reporting each would take too long; 503, there is not
            enough memory (FastAPI would turn a MemoryError into a 400).
    """
    try:
        return strict_json.parse_json(body, most_fields=_MOST_FIELDS)
    except TooManyFieldsError as error:
        raise ProblemError(INVALID_FIELD, str(error)) from error
    except JsonError as error:
        raise ProblemError(MALFORMED_JSON, str(error)) from error
    except MemoryError as error:
        raise explain(error) from error
