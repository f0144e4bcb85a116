"""The bodies of requests: found in the bytes of a connection, and passed on in few large pieces."""

from __future__ import annotations

import re
from typing import Protocol

from uq4ct.service.http.kinds import HEAD_TOO_LARGE, MALFORMED_REQUEST
from uq4ct.service.wire.failures import WireError
from uq4ct.service.wire.heads import parse_fields
from uq4ct.service.wire.limits import WireLimits

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_STARTED_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8}[ \t]*(;[\t\x20-\x7e\x80-\xff]*)?\r?)?")
_LINE_END = b"\r\n"
_LONGEST_SIZE_LINE = 256
_CHUNKS_A_TURN = 1_000  # about a millisecond


class Body(Protocol):
    """A body that still arrives."""

    @property
    def done(self) -> bool:
        """Whether its end was found."""
        ...

    def take(self, buffer: bytearray) -> bytes:
        """Remove bytes of the body from the start of the buffer and return them, in the framing for the parser.

        Returns b"" if more are needed. Raises WireError.
        """
        ...


class FixedBody:
    """A body whose length the header announced."""

    def __init__(self, length: int) -> None:
        self._missing = length

    @property
    def done(self) -> bool:
        """Whether its end was found."""
        return self._missing == 0

    def take(self, buffer: bytearray) -> bytes:
        """Return what has arrived."""
        piece = bytes(buffer[: self._missing])
        del buffer[: len(piece)]
        self._missing -= len(piece)
        return piece


class ChunkedBody:
    """A body in chunks (RFC 9112, section 7.1). Small chunks are joined; extensions and trailers are dropped."""

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._missing = 0  # content of the current chunk
        self._at_line_end = False  # after that content
        self._content = 0
        self._framing = 0
        self._in_trailers = False
        self.done = False

    def take(self, buffer: bytearray) -> bytes:
        """Return the content that has arrived as one chunk, and the last chunk once the trailers have arrived."""
        content = b"" if self._in_trailers else self._take_chunks(buffer)
        if self._in_trailers:
            self._take_trailers(buffer)
        chunk = b"%x\r\n%s\r\n" % (len(content), content) if content else b""
        return chunk + (b"0\r\n\r\n" if self.done else b"")

    def _take_chunks(self, buffer: bytearray) -> bytes:
        content = bytearray()
        position = 0
        for _ in range(_CHUNKS_A_TURN):
            data = buffer[position : position + self._missing]
            content += data
            position += len(data)
            self._missing -= len(data)
            if self._missing:
                break
            if self._at_line_end:
                line_end = bytes(buffer[position : position + 2])
                if not _LINE_END.startswith(line_end):
                    raise WireError(MALFORMED_REQUEST, "a chunk of the body is longer than its size")
                if line_end != _LINE_END:
                    break
                position += 2
                self._at_line_end = False
            size = _SIZE.match(buffer, position)
            if size is None:
                _check_unfinished(bytes(buffer[position : position + _LONGEST_SIZE_LINE]))
                break
            position = size.end()
            self._framing += len(size[0]) + 2
            self._missing = int(size[1], 16)
            self._in_trailers = self._missing == 0
            self._at_line_end = not self._in_trailers
            if self._in_trailers:
                break
        del buffer[:position]
        self._content += len(content)
        if self._framing > self._limits.framing_bytes + self._content:
            raise WireError(MALFORMED_REQUEST, "the chunks of the body are too small, or their extensions too long")
        return bytes(content)

    def _take_trailers(self, buffer: bytearray) -> None:
        if buffer.startswith(_LINE_END):
            del buffer[:2]
            self.done = True
            return
        end = buffer.find(_LINE_END * 2)
        if (len(buffer) if end < 0 else end) > self._limits.head_bytes:
            raise WireError(HEAD_TOO_LARGE, f"the trailers are larger than {self._limits.head_bytes} bytes")
        if end >= 0:
            parse_fields(bytes(buffer[:end]).split(_LINE_END), self._limits)
            del buffer[: end + 4]
            self.done = True


def _check_unfinished(rest: bytes) -> None:
    """Raise if this cannot be the start of a size line."""
    if len(rest) == _LONGEST_SIZE_LINE or not _STARTED_SIZE.fullmatch(rest):
        raise WireError(MALFORMED_REQUEST, "a chunk of the body has no valid size")
