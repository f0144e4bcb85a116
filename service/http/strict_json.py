"""Request bodies: within the size limit, declared as JSON, and JSON in the strict sense of RFC 8259."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Sequence
from email.message import Message
from typing import Any, NoReturn

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from uq4ct.service.context import context_of
from uq4ct.service.http.guards import Guard, guards_of
from uq4ct.service.http.kinds import CLIENT_GONE, INVALID_FIELD, MALFORMED_JSON, NOT_JSON, TOO_LARGE
from uq4ct.service.http.problems import ProblemError, shown

_MOST_FIELDS = 64  # of an object: far more than any has here, far fewer than what takes long to complain about

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictJsonRoute(APIRoute):
    """A route whose body is read by `read_body` and `parse_json` in place of FastAPI's lenient reading."""

    def get_route_handler(self) -> Handler:
        """FastAPI's handler, given a request that reads strictly."""
        return read_strictly(
            super().get_route_handler(),
            lambda request: check_content_type(request.headers.get("content-type")),
            list(guards_of(self.dependant)),
        )


def read_strictly(handle: Handler, check: Callable[[Request], None], guards: Sequence[Guard]) -> Handler:
    """A handler that hands on the requests that pass `guards` and `check`, with their bodies read strictly."""

    async def handle_strictly(request: Request) -> Response:
        for guard in guards:  # a dependency would come after the body
            await guard(request)
        check(request)
        body = await read_body(request, context_of(request).settings.payload_limit)
        return await handle(_StrictJsonRequest(request, body))

    return handle_strictly


class _StrictJsonRequest(Request):
    """A request whose body has been read and is JSON, however it was declared; FastAPI's way in for another parser."""

    def __init__(self, request: Request, body: bytes) -> None:
        headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
        headers.append((b"content-type", b"application/json"))
        super().__init__({**request.scope, "headers": headers}, request.receive)
        self._read = body

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> object:
        return parse_json(self._read)


def check_content_type(given: str | None) -> None:
    """Refuse a body that is not declared as JSON.

    Raises:
        ProblemError: 415.
    """
    message = Message()
    message["content-type"] = given or ""
    if not given or message.get_content_type() != "application/json":
        raise ProblemError(NOT_JSON, f"Content-Type is {ascii(shown(given)) if given else 'missing'}")


async def read_body(request: Request, limit: int) -> bytes:
    """The body, measured as it comes in: Content-Length may be absent or a lie.

    Raises:
        ProblemError: 413 beyond `limit` bytes, 400 where there is none, 499 where the client goes in the middle of it.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise ProblemError(TOO_LARGE, f"the body is larger than {limit} bytes", limit=limit)
    except ClientDisconnect as error:
        raise ProblemError(CLIENT_GONE, "closed before the end of the body") from error
    if not body:
        raise ProblemError(MALFORMED_JSON, "the body is empty")
    return bytes(body)


def parse_json(body: bytes) -> object:
    """Read UTF-8 JSON; NaN, Infinity and keys that stand twice in an object are refused.

    Raises:
        ProblemError: 400; 422 where an object has very many fields, each of which would get a complaint of its own.
    """
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ProblemError(MALFORMED_JSON, f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ProblemError(MALFORMED_JSON, f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise ProblemError(MALFORMED_JSON, "arrays or objects are nested too deeply") from error
    except ValueError as error:  # Python converts no integer of more than 4300 digits
        raise ProblemError(MALFORMED_JSON, "a number has too many digits") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_FIELDS:
        raise ProblemError(INVALID_FIELD, f"an object has {len(pairs)} fields, more than {_MOST_FIELDS} are not read")
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise ProblemError(MALFORMED_JSON, f"the key {shown(key)!a} stands twice in an object")
        record[key] = value
    return record


def _refuse_constant(constant: str) -> NoReturn:
    raise ProblemError(MALFORMED_JSON, f"{constant} is not a JSON value")
