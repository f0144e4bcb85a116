"""Content codings of request bodies (RFC 9110, section 8.4): gzip and deflate are decoded, others rejected."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Protocol

from uq4ct.service.http.kinds import MALFORMED_JSON, UNSUPPORTED_CODING
from uq4ct.service.http.problems import ProblemError, shown

_GZIP, _ZLIB = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS  # the formats, as zlib names them
_FORMATS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
SUPPORTED = "gzip, deflate"


class Decoder(Protocol):
    """Decodes a body piece by piece."""

    def decode(self, piece: bytes, room: int) -> bytes:
        """Return the content of the next piece of the body; decodes at most `room` bytes of it, at least 1."""
        ...

    def finish(self) -> None:
        """Check that the body is complete; raises ProblemError 400 if not."""
        ...


def decoder_of(content_encodings: Sequence[str]) -> Decoder:
    """Return the decoder of a body, given the values of its Content-Encoding headers.

    Raises:
        ProblemError: 415, another coding or several.
    """
    listed = (coding.strip().lower() for value in content_encodings for coding in value.split(","))
    codings = [coding for coding in listed if coding not in ("", "identity")]
    if not codings:
        return _Plain()
    if len(codings) > 1 or codings[0] not in _FORMATS:
        detail = f"Content-Encoding is {shown(', '.join(codings))!a} (supported: one of {SUPPORTED})"
        raise ProblemError(UNSUPPORTED_CODING, detail, headers={"Accept-Encoding": SUPPORTED})
    return _Compressed(codings[0])


class _Plain:
    """A body without a coding."""

    def decode(self, piece: bytes, room: int) -> bytes:
        return piece[:room]

    def finish(self) -> None:
        pass


class _Compressed:
    """A gzip or zlib stream. A gzip body may have several members (RFC 1952, section 2.2)."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream = zlib.decompressobj(_FORMATS[coding])

    def decode(self, piece: bytes, room: int) -> bytes:
        content = bytearray()
        while piece and len(content) < room:
            if self._stream.eof:
                self._start_next_member()
            try:
                content += self._stream.decompress(piece, room - len(content))
            except zlib.error as error:
                raise ProblemError(MALFORMED_JSON, f"the body is not valid {self._coding}") from error
            piece = self._stream.unconsumed_tail or self._stream.unused_data
        return bytes(content)

    def finish(self) -> None:
        if not self._stream.eof:
            raise ProblemError(MALFORMED_JSON, f"the {self._coding} body ends too early")

    def _start_next_member(self) -> None:
        if _FORMATS[self._coding] != _GZIP:
            raise ProblemError(MALFORMED_JSON, f"the {self._coding} body continues after its end")
        self._stream = zlib.decompressobj(_GZIP)
