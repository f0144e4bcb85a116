"""The header of a request: checked as RFC 9112 demands, in time linear in its length, before a parser sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from uq4ct.service.http.kinds import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    TARGET_TOO_LONG,
    UNSUPPORTED_REQUEST,
    UNSUPPORTED_VERSION,
)
from uq4ct.service.wire.failures import WireError
from uq4ct.service.wire.limits import WireLimits

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)")
_TARGET = re.compile(rb"/[A-Za-z0-9._~!$&'()*+,;=:@%/?\[\]|-]*")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_DROPPED = frozenset({b"upgrade", b"http2-settings"})  # a parser would wait for the other protocol

Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """A checked header, ready for a parser; `length` is that of the body in bytes, None if it comes in chunks."""

    raw: bytes
    version: bytes
    length: int | None


def parse_head(block: bytes, limits: WireLimits) -> Head:
    """Check the header of a request, given without the empty line at its end.

    Raises:
        WireError: it is too large or malformed, or asks for something unsupported.
    """
    first, *lines = block.split(b"\r\n")
    if len(first) > limits.line_bytes:
        raise WireError(TARGET_TOO_LONG, f"the request line is longer than {limits.line_bytes} bytes")
    fields = parse_fields(lines, limits)
    method, target, version = _parse_request_line(first)
    target, fields = _to_origin_form(target, fields)
    _check_host(fields, version)
    length = _body_length(fields, version)
    kept = (b"%s: %s" % field for field in fields if field[0].lower() not in _DROPPED)
    return Head(b"\r\n".join([b"%s %s HTTP/%s" % (method, target, version), *kept, b"", b""]), version, length)


def parse_fields(lines: Sequence[bytes], limits: WireLimits) -> Fields:
    """Return the names and values of header or trailer lines.

    Raises:
        WireError: there are too many, or one is too long or malformed.
    """
    if len(lines) > limits.header_count:
        raise WireError(HEAD_TOO_LARGE, f"there are {len(lines)} header lines (limit: {limits.header_count})")
    return [_parse_field(line, limits) for line in lines]


def _parse_field(line: bytes, limits: WireLimits) -> tuple[bytes, bytes]:
    if len(line) > limits.line_bytes:
        raise WireError(HEAD_TOO_LARGE, f"a header line is longer than {limits.line_bytes} bytes")
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
        raise WireError(MALFORMED_REQUEST, "a header line is malformed")
    return name, value.strip(b" \t")


def _parse_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise WireError(MALFORMED_REQUEST, "the request line is malformed")
    method, target, version = match.groups()
    if version not in (b"1.1", b"1.0"):
        raise WireError(UNSUPPORTED_VERSION, f"the request has HTTP version {version.decode()}")
    if method == b"CONNECT":
        raise WireError(UNSUPPORTED_REQUEST, "the method CONNECT is not supported")
    return method, target, version


def _to_origin_form(target: bytes, fields: Fields) -> tuple[bytes, Fields]:
    """Return the path and query of the target; the authority of an absolute one replaces Host (RFC 9112, 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is not None:
        authority, target = absolute.groups()
        target = target if target.startswith(b"/") else b"/" + target
        fields = [(b"Host", authority), *(field for field in fields if field[0].lower() != b"host")]
    if not _TARGET.fullmatch(target):
        raise WireError(MALFORMED_REQUEST, "the request target is not a path with an optional query")
    return target, fields


def _check_host(fields: Fields, version: bytes) -> None:
    hosts = _values(fields, b"host")
    if len(hosts) > 1 or (not hosts and version == b"1.1"):
        raise WireError(MALFORMED_REQUEST, f"there are {len(hosts)} Host headers (must be 1)")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise WireError(MALFORMED_REQUEST, "the Host header is malformed")


def _body_length(fields: Fields, version: bytes) -> int | None:
    """Return the length of the body, None for chunks. Both headers at once hide a second request (RFC 9112, 6.1)."""
    lengths, codings = _values(fields, b"content-length"), _values(fields, b"transfer-encoding")
    if codings:
        if lengths or version == b"1.0":
            raise WireError(MALFORMED_REQUEST, "Transfer-Encoding with Content-Length, or in HTTP/1.0")
        if [coding.lower() for coding in codings] != [b"chunked"]:
            raise WireError(UNSUPPORTED_REQUEST, "Transfer-Encoding is not `chunked`")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]):
        raise WireError(MALFORMED_REQUEST, "Content-Length is not one number")
    return int(lengths[0])


def _values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for other, value in fields if other.lower() == name]
