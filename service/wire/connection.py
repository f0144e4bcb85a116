"""One connection: its limits and deadlines, in front of either parser."""

from __future__ import annotations

import asyncio
import logging
import socket as sockets
import time
from collections.abc import Callable
from typing import Any, cast

from uq4ct.service.http.kinds import TOO_MANY_CONNECTIONS, TOO_SLOW
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.wire.connections import Connections
from uq4ct.service.wire.failures import WireError
from uq4ct.service.wire.limits import WireLimits
from uq4ct.service.wire.reader import RequestReader, Stage
from uq4ct.service.wire.refusals import refusal
from uq4ct.service.wire.transport import ParserTransport

_MOST_HELD = 65_536  # bytes that wait for the parser; above it nothing is read from the socket
_PIECES_A_TURN = 4  # of the event loop, passed to the parser
_INTERIM = b"HTTP/1.1 100 "
_STILL_THERE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SECONDS_TO_RESET = 0.1

logger = logging.getLogger(__name__)

MakeParser = Callable[[Callable[[], bool]], Any]


class Connection(asyncio.Protocol):
    """Passes checked requests to a parser one at a time, and closes a connection that is refused, late or idle."""

    def __init__(
        self,
        make_parser: MakeParser,
        peers: Connections,
        limits: WireLimits,
        metrics: Metrics,
        new_id: Callable[[], str],
    ) -> None:
        """`make_parser` gets a function that tells whether the whole request has arrived."""
        self._make_parser = make_parser
        self._peers = peers
        self._limits = limits
        self._metrics = metrics
        self._new_id = new_id
        self._reader = RequestReader(limits)
        self._parser: Any = None
        self._socket: asyncio.Transport
        self._answering = False  # a request has been passed on, and its response is not complete
        self._responding = False  # the response has begun
        self._held = False
        self._scheduled = False
        self._closing = False
        self._half_closed = False  # the client sends nothing more, but waits for an answer
        self._since = 0.0  # monotonic seconds: when the current wait began
        self._received = 0  # bytes of the body during that wait
        self._unsent = 0
        self._unsent_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, or refuse the connection."""
        self._socket = cast(asyncio.Transport, transport)
        self._since = time.monotonic()
        if not self._peers.admit(self):
            self._refuse(WireError(TOO_MANY_CONNECTIONS, f"{self._peers.limit} connections are open and busy"))
            return
        self._show_number()
        self._parser = self._make_parser(self._has_arrived)
        self._parser.answered = self._on_answered
        self._parser.connection_made(ParserTransport(self, self._socket))

    def data_received(self, data: bytes) -> None:
        """Check and pass on bytes of requests; drop them once the connection is closing."""
        if self._closing:
            return
        if self._reader.stage is Stage.REQUEST and not self._answering:
            self._since = time.monotonic()
        self._received += len(data)
        self._reader.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """Keep a half-closed connection open until its complete request is answered.

        A client that is gone looks the same. It answers an interim response with a reset, which is looked for.
        """
        if self._closing or not self._answering or self._reader.stage is Stage.BODY:
            return False
        self._half_closed = True
        if self._reader.knows_interim_responses and not self._responding:
            self._socket.write(_STILL_THERE)
            asyncio.get_running_loop().call_later(_SECONDS_TO_RESET, self._close_if_reset)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the parser."""
        self._closing = True
        self._peers.forget(self)
        self._show_number()
        self._lose_parser(exc)

    def pause_writing(self) -> None:
        """Tell the parser that the client reads too slowly."""
        if self._parser is not None:
            self._parser.pause_writing()

    def resume_writing(self) -> None:
        """Tell the parser that it may write again."""
        if self._parser is not None:
            self._parser.resume_writing()

    def send(self, data: bytes) -> None:
        """Write bytes of a response."""
        self._responding = self._responding or not data.startswith(_INTERIM)
        self._socket.write(data)

    def hold(self, held: bool) -> None:
        """Stop or go on passing bytes to the parser."""
        self._held = held
        if not held:
            self._restart_wait()
            self._advance_soon()

    def finish(self) -> None:
        """Close once everything is written; first take what the client still sends, or it may never see the answer."""
        if self._closing:
            return
        self._closing = True
        self._since = time.monotonic()
        self._peers.work(self)
        if self._half_closed or (self._reader.stage is not Stage.BODY and not self._reader.held):
            self._socket.close()
        else:
            self._socket.resume_reading()
            self._socket.write_eof()

    def evict(self) -> None:
        """Close at once."""
        self._count("evicted")
        self._socket.abort()

    def check(self, now: float) -> None:
        """Close if a deadline has passed."""
        waited = now - self._since
        if self._is_stuck(now):
            self._count("stalled")
            self._socket.abort()
        elif self._closing:
            if waited > self._limits.linger_seconds and not self._unsent:
                self._socket.abort()
        elif self._half_closed:
            self._close_if_reset()
        elif self._reader.stage is Stage.BODY:
            if not self._held and waited > self._limits.body_seconds + self._received / self._limits.body_rate:
                self._refuse(WireError(TOO_SLOW, "the body arrives too slowly"))
        elif self._answering:
            pass
        elif self._reader.stage is Stage.HEAD:
            if waited > self._limits.head_seconds:
                self._refuse(WireError(TOO_SLOW, f"the header took longer than {self._limits.head_seconds:g} seconds"))
        elif waited > self._limits.idle_seconds:
            self._count("idle")
            self.finish()

    def _advance(self) -> None:
        """Pass on what may be passed on now."""
        self._scheduled = False
        for _ in range(_PIECES_A_TURN):
            if self._closing or self._held or (self._answering and self._reader.stage is not Stage.BODY):
                break
            try:
                piece = self._reader.read()
            except WireError as error:
                self._refuse(error)
                return
            if not piece:
                break
            if not self._answering:
                self._begin_request()
            self._parser.data_received(piece)
        else:
            if self._reader.held:
                self._advance_soon()
        if self._reader.held > _MOST_HELD and not self._closing and not self._half_closed:
            self._socket.pause_reading()
        else:
            self._socket.resume_reading()

    def _advance_soon(self) -> None:
        if not self._scheduled and not self._closing:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._advance)

    def _begin_request(self) -> None:
        self._answering = True
        self._responding = False
        self._restart_wait()
        self._peers.work(self)

    def _on_answered(self) -> None:
        """Wait for the next request; called by the parser at the end of each response."""
        self._answering = False
        if self._closing:
            return
        if self._reader.stage is Stage.BODY or (self._half_closed and not self._reader.held):
            self.finish()
            return
        self._restart_wait()
        self._peers.wait(self)
        self._advance_soon()

    def _restart_wait(self) -> None:
        self._since = time.monotonic()
        self._received = 0

    def _has_arrived(self) -> bool:
        return self._reader.stage is not Stage.BODY

    def _refuse(self, error: WireError) -> None:
        """Answer with a problem document unless a response has begun, and close."""
        if not (self._answering and self._responding):
            request_id = self._new_id()
            logger.info("connection refused", extra={"request_id": request_id, "reason": error.kind.reason})
            self._socket.write(refusal(error, request_id))
        self._count(error.kind.reason)
        self.finish()
        self._lose_parser(None)

    def _lose_parser(self, error: Exception | None) -> None:
        """Tell the parser, once, that the connection is gone: it cancels what it does for the client."""
        parser, self._parser = self._parser, None
        if parser is not None:
            parser.connection_lost(error)

    def _is_stuck(self, now: float) -> bool:
        """Whether the client has taken no byte of the response for too long."""
        unsent = self._socket.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        return unsent > 0 and now - self._unsent_since > self._limits.stall_seconds

    def _close_if_reset(self) -> None:
        socket = self._socket.get_extra_info("socket")
        if not self._socket.is_closing() and socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR):
            self._socket.abort()

    def _count(self, reason: str) -> None:
        self._metrics.connections_closed.labels(reason).inc()

    def _show_number(self) -> None:
        self._metrics.connections.set(len(self._peers))
