"""A small application behind the wire's limits, on a real socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from uvicorn.server import ServerState

from uq4ct.service.http.unread_bodies import CloseUnreadBodies
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.wire.front import connection_factory
from uq4ct.service.wire.limits import WireLimits
from uq4ct.service.wire.parsers import ParserName

PARSERS: tuple[ParserName, ...] = ("h11", "httptools")


@dataclass
class Echo:
    """Answers with the method, the path and the body, unless told to refuse before it reads the body.

    `/slow` answers once `may_answer` is set; `/large` answers with 16 MB, more than sockets buffer.
    """

    refuses: bool = False
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    disconnects: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers.append(scope["headers"])
        body = b"" if self.refuses else await self._read(receive)
        if body is None:
            return
        if scope["path"] == "/slow":
            await self._wait(receive)
        self.requests.append((scope["method"], scope["path"], body))
        reply = f"{scope['method']} {scope['path']} ".encode() + body
        content = b"x" * 16_000_000 if scope["path"] == "/large" else reply
        status = 401 if self.refuses else 200
        headers = [(b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _read(self, receive: Any) -> bytes | None:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return None
            body += message["body"]
            if not message["more_body"]:
                return body

    async def _wait(self, receive: Any) -> None:
        gone = asyncio.create_task(receive())
        may = asyncio.create_task(self.may_answer.wait())
        await asyncio.wait({gone, may}, return_when=asyncio.FIRST_COMPLETED)
        self.disconnects += gone.done() and not may.done()
        gone.cancel()
        may.cancel()


@dataclass
class Front:
    """A running server."""

    port: int
    registry: CollectorRegistry

    def closed(self, reason: str) -> float | None:
        """How many connections the server closed for this reason."""
        return self.registry.get_sample_value("uq4ct_connections_closed_total", {"reason": reason})

    @property
    def open(self) -> float | None:
        return self.registry.get_sample_value("uq4ct_connections")

    async def exchange(self, *pieces: bytes, ends: bool = False, pause: float = 0.0) -> bytes:
        """Send the pieces on a new connection and return all that the server sends until it closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            if ends:
                writer.write_eof()
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    app: Any, parser: ParserName, *, most: int = 100, limits: WireLimits | None = None
) -> AsyncIterator[Front]:
    """Serve an application with the wire's limits in front of it."""
    registry = CollectorRegistry()
    numbers = itertools.count()
    front = connection_factory(parser, most, Metrics(registry), lambda: f"id-{next(numbers)}", limits)
    config = uvicorn.Config(CloseUnreadBodies(app), http=front, log_config=None)
    config.load()
    state = ServerState()

    def connect() -> asyncio.Protocol:
        return front(config=config, server_state=state, app_state={})  # type: ignore[call-arg]  # as uvicorn calls it

    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    async with server:
        yield Front(server.sockets[0].getsockname()[1], registry)
