"""Responses to requests whose body was not read: the connection ends with them."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ARRIVED = "whole_request_has_arrived"  # in the state of a request: a function that tells it


class CloseUnreadBodies:
    """Close the connection after a response that is sent while the body still arrives. Pure ASGI.

    Otherwise the server would have to read the rest of a body that it has rejected.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            has_arrived = scope.get("state", {}).get(ARRIVED)
            if message["type"] == "http.response.start" and has_arrived is not None and not has_arrived():
                MutableHeaders(scope=message)["Connection"] = "close"
            await send(message)

        await self._app(scope, receive, send_and_close)
