"""The transport that a parser sees: the connection decides when its bytes are read and when it really closes."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class Wire(Protocol):
    """What a parser may do with its connection."""

    def send(self, data: bytes) -> None:
        """Write bytes of a response."""
        ...

    def finish(self) -> None:
        """Close once everything is written."""
        ...

    def hold(self, held: bool) -> None:
        """Stop or go on passing bytes to the parser."""
        ...


class ParserTransport(asyncio.Transport):
    """Passes the calls of a parser to its connection."""

    def __init__(self, wire: Wire, socket: asyncio.Transport) -> None:
        super().__init__()
        self._wire = wire
        self._socket = socket
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket says."""
        return self._socket.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether the parser or the client has closed."""
        return self._closing or self._socket.is_closing()

    def write(self, data: Any) -> None:
        """Send bytes, unless the connection is closing."""
        if not self.is_closing():
            self._wire.send(bytes(data))

    def close(self) -> None:
        """Close once everything is written."""
        if not self._closing:
            self._closing = True
            self._wire.finish()

    def pause_reading(self) -> None:
        """Stop passing bytes to the parser."""
        self._wire.hold(True)

    def resume_reading(self) -> None:
        """Go on passing bytes to the parser."""
        self._wire.hold(False)
