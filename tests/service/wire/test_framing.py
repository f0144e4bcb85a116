"""The wire splits any bytes in any pieces as h11 does, and either parser accepts whatever it passes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h11
import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uq4ct.service.wire.failures import WireError
from uq4ct.service.wire.limits import WireLimits
from uq4ct.service.wire.reader import RequestReader

TOKEN = st.text("abcXYZ09-_!#$%&'*+.^`|~", min_size=1, max_size=12)
VALUE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=30)
RESERVED = {"host", "content-length", "transfer-encoding", "upgrade", "http2-settings", "connection", "expect"}
FIELDS = st.lists(st.tuples(TOKEN.filter(lambda name: name.lower() not in RESERVED), VALUE), max_size=6)
TARGET = st.text("abcXYZ09._~!$&'()*+,;=:@%/?[]|-", max_size=40).map("/".__add__)
Request = tuple[bytes, bytes]  # as sent, and its body


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """A valid request with or without a body, which may come in chunks."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH"]))
    fields = "".join(f"{name}: {value}\r\n" for name, value in draw(FIELDS))
    head = f"{method} {draw(TARGET)} HTTP/1.1\r\nHost: a\r\n{fields}".encode("latin-1")
    body = draw(st.binary(max_size=60))
    match draw(st.sampled_from(["none", "length", "chunks"])):
        case "none":
            return head + b"\r\n", b""
        case "length":
            return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, body
        case _:
            chunks = b"".join(_chunk(draw, part) for part in _parts(body, draw(st.lists(st.integers(1, 20)))))
            trailers = "".join(f"{name}: {value}\r\n" for name, value in draw(FIELDS)).encode("latin-1")
            return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailers + b"\r\n", body


def _chunk(draw: st.DrawFn, part: bytes) -> bytes:
    extension = draw(st.sampled_from([b"", b";a", b';a="b c"']))
    return b"%x%s\r\n%s\r\n" % (len(part), extension, part)


def _parts(data: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    """Cut data into pieces of these sizes, and one of the rest."""
    at = 0
    for size in [*sizes, len(data)]:
        if data[at : at + size]:
            yield data[at : at + size]
        at += size


def _pass_on(sent: bytes, cuts: Sequence[int]) -> list[bytes]:
    reader = RequestReader(WireLimits())
    passed: list[bytes] = []
    for piece in _parts(sent, cuts):
        reader.feed(piece)
        while out := reader.read():
            passed.append(out)
    return passed


class _Callbacks:
    """Collects what httptools finds."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.complete = 0

    def on_message_begin(self) -> None:
        self.bodies.append(b"")

    def on_body(self, body: bytes) -> None:
        self.bodies[-1] += body

    def on_message_complete(self) -> None:
        self.complete += 1


def _read_by_httptools(pieces: Sequence[bytes]) -> list[bytes]:
    callbacks = _Callbacks()
    parser = httptools.HttpRequestParser(callbacks)
    for piece in pieces:
        parser.feed_data(piece)
    assert callbacks.complete == len(callbacks.bodies)
    return callbacks.bodies


def _read_by_h11(pieces: Sequence[bytes]) -> tuple[list[Any], list[bytes]]:
    """Return the requests and the bodies that h11 finds."""
    connection = h11.Connection(h11.SERVER)
    heads: list[Any] = []
    bodies: list[bytes] = []
    for piece in pieces:
        connection.receive_data(piece)
        while not isinstance(event := connection.next_event(), type(h11.NEED_DATA)):
            match event:
                case h11.Request():
                    heads.append((event.method, event.target, event.http_version, list(event.headers)))
                    bodies.append(b"")
                case h11.Data():
                    bodies[-1] += bytes(event.data)
                case h11.EndOfMessage():
                    connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    connection.send(h11.EndOfMessage())
                    connection.start_next_cycle()
                case _:
                    break
    return heads, bodies


@given(st.lists(requests(), min_size=1, max_size=3), st.lists(st.integers(1, 40), max_size=60))
def test_any_valid_requests_in_any_pieces_arrive_whole(sent: list[Request], cuts: list[int]) -> None:
    stream, expected = b"".join(raw for raw, _ in sent), [body for _, body in sent]
    passed = _pass_on(stream, cuts)
    heads, bodies = _read_by_h11(passed)
    assert bodies == _read_by_httptools(passed) == expected
    assert (heads, bodies) == _read_by_h11([stream])


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=20))
@example(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", [])
@example(b"GET // HTTP/1.1\r\nHost: a\r\n\r\n", [])
@example(b"POST / HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", [5])
def test_what_is_passed_on_is_valid_for_both_parsers(sent: bytes, cuts: list[int]) -> None:
    for prefix in (
        b"",
        b"POST / HTTP/1.1\r\nHost: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        reader = RequestReader(WireLimits())
        passed: list[bytes] = []
        try:
            for piece in _parts(prefix + sent, cuts):
                reader.feed(piece)
                while out := reader.read():
                    passed.append(out)
        except WireError:
            pass
        _read_by_h11(passed)
        parser = httptools.HttpRequestParser(_Callbacks())
        for piece in passed:
            parser.feed_data(piece)


@given(TARGET)
def test_every_target_that_is_passed_on_is_an_address(target: str) -> None:
    raw = f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert _pass_on(raw, []) == [raw]
    assert httptools.parse_url(target.encode()).path == target.partition("?")[0].encode()


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_small_chunks_are_joined(size: int) -> None:
    body = bytes(range(256)) * 40
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in _parts(body, [size] * (len(body) // size)))
    passed = _pass_on(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n", [])
    assert _read_by_h11(passed)[1] == [body]
    assert len(passed) <= 2 + len(body) // size // 1_000 + 1
