"""Splits the bytes of a connection into requests, within the limits, for a parser behind it."""

from __future__ import annotations

import enum

from uq4ct.service.http.kinds import HEAD_TOO_LARGE, MALFORMED_REQUEST, TARGET_TOO_LONG
from uq4ct.service.wire.bodies import Body, ChunkedBody, FixedBody
from uq4ct.service.wire.failures import WireError
from uq4ct.service.wire.heads import parse_head
from uq4ct.service.wire.limits import WireLimits

_EMPTY_LINES = 2  # that old clients send after a body (RFC 9112, section 2.2)


class Stage(enum.Enum):
    """What a connection waits for."""

    REQUEST = "the first byte of a request"
    HEAD = "the rest of a header"
    BODY = "the rest of a body"


class RequestReader:
    """Takes the bytes of a connection in pieces of any size, and returns what a parser may see of them."""

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._searched = 0  # bytes of an unfinished header that hold no empty line
        self._empty_lines = 0
        self._body: Body | None = None
        self.knows_interim_responses = False  # HTTP/1.0 does not

    @property
    def stage(self) -> Stage:
        """What the connection waits for."""
        if self._body is not None:
            return Stage.BODY
        return Stage.HEAD if self._buffer else Stage.REQUEST

    @property
    def held(self) -> int:
        """Bytes that have arrived and were not returned yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Add bytes from the connection."""
        self._buffer += data

    def read(self) -> bytes:
        """Return the next header, or the next part of a body; b"" if more bytes are needed.

        Raises:
            WireError: the connection must not be read any further.
        """
        if self._body is None:
            return self._read_head()
        piece = self._body.take(self._buffer)
        if self._body.done:
            self._body = None
        return piece

    def _read_head(self) -> bytes:
        self._drop_empty_lines()
        end = self._buffer.find(b"\r\n\r\n", self._searched)
        if (len(self._buffer) if end < 0 else end) > self._limits.head_bytes:
            raise self._too_large()
        if end < 0:
            self._check_first_line()
            self._searched = max(len(self._buffer) - 3, 0)
            return b""
        head = parse_head(bytes(self._buffer[:end]), self._limits)
        del self._buffer[: end + 4]
        self._searched = self._empty_lines = 0
        self.knows_interim_responses = head.version == b"1.1"
        if head.length != 0:
            self._body = ChunkedBody(self._limits) if head.length is None else FixedBody(head.length)
        return head.raw

    def _drop_empty_lines(self) -> None:
        while self._buffer.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > _EMPTY_LINES:
                raise WireError(MALFORMED_REQUEST, "there are empty lines before the request")
            del self._buffer[:2]

    def _check_first_line(self) -> None:
        """Refuse lines that end without a carriage return at once: the empty line would never be found."""
        end = self._buffer.find(b"\n", 0, self._limits.line_bytes + 2)
        if end >= 0 and not self._buffer.startswith(b"\r", max(end - 1, 0)):
            raise WireError(MALFORMED_REQUEST, "a line does not end with carriage return and line feed")

    def _too_large(self) -> WireError:
        if self._buffer.find(b"\r\n", 0, self._limits.line_bytes + 2) < 0:
            return WireError(TARGET_TOO_LONG, f"the request line is longer than {self._limits.line_bytes} bytes")
        return WireError(HEAD_TOO_LARGE, f"the header is larger than {self._limits.head_bytes} bytes")
