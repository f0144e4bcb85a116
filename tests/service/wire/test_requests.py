"""What the wire lets through, and what it refuses, with either parser."""

from __future__ import annotations

import json

import pytest

from tests.service.wire.fronts import PARSERS, Echo, serving
from uq4ct.service.wire.limits import WireLimits
from uq4ct.service.wire.parsers import ParserName

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("parser", PARSERS)]
HOST = b"Host: a\r\n"
CLOSE = b"Connection: close\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST
POST = b"POST /p HTTP/1.1\r\n" + HOST + CLOSE
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("sent", "method", "path", "body"),
    [
        (GET + CLOSE + b"\r\n", "GET", "/", b""),
        (b"\r\n" + GET + CLOSE + b"\r\n", "GET", "/", b""),
        (b"GET /a%20b?q=1 HTTP/1.0\r\n\r\n", "GET", "/a b", b""),
        (b"GET http://other/p?q HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", "GET", "/p", b""),
        (POST + b"Content-Length: 3\r\n\r\nabc", "POST", "/p", b"abc"),
        (POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", "POST", "/p", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n", "POST", "/p", b"abcde"),
        (POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx", "POST", "/p", b"x"),
    ],
)
async def test_a_valid_request_is_answered(
    parser: ParserName, sent: bytes, method: str, path: str, body: bytes
) -> None:
    echo = Echo()
    async with serving(echo, parser) as front:
        whole = await front.exchange(sent)
        in_bytes = await front.exchange(*(sent[at : at + 1] for at in range(len(sent))))
    assert b" 200 OK" in whole
    assert whole.endswith(f"{method} {path} ".encode() + body)
    assert in_bytes.endswith(f"{method} {path} ".encode() + body)
    assert echo.requests == [(method, path, body)] * 2


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        (b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", 400, "malformed"),
        (GET + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "malformed"),
        (GET + b"Content-Length: +1\r\n\r\nx", 400, "malformed"),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "unsupported-request"),
        (GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "unsupported-request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed"),
        (GET + HOST + b"\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400, "malformed"),
        (GET + b"A: b\n\r\n\r\n", 400, "malformed"),
        (GET + b" folded\r\n\r\n", 400, "malformed"),
        (GET + b"Name : v\r\n\r\n", 400, "malformed"),
        (GET + b"A: \x00\r\n\r\n", 400, "malformed"),
        (b"GET  / HTTP/1.1\r\n\r\n", 400, "malformed"),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400, "malformed"),
        (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
        (b"\r\n\r\n\r\n" + GET + b"\r\n", 400, "malformed"),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "unsupported-version"),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 501, "unsupported-request"),
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "target-too-long"),
        (b"GET /" + b"a" * 40_000, 414, "target-too-long"),
        (GET + b"A: " + b"a" * 9_000 + b"\r\n\r\n", 431, "head-too-large"),
        (GET + b"A: b\r\n" * 120 + b"\r\n", 431, "head-too-large"),
        (GET + (b"A: " + b"a" * 8_000 + b"\r\n") * 5, 431, "head-too-large"),
        (CHUNKED + b"zz\r\n", 400, "malformed"),
        (CHUNKED + b"3\r\nabcd\r\n", 400, "malformed"),
        (CHUNKED + b"123456789\r\n", 400, "malformed"),
        (CHUNKED + b"1;" + b"x" * 300, 400, "malformed"),
        (CHUNKED + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n", 400, "malformed"),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 120 + b"\r\n", 431, "head-too-large"),
        (CHUNKED + b"0\r\n" + (b"A: " + b"a" * 8_000 + b"\r\n") * 5 + b"\r\n", 431, "head-too-large"),
        (CHUNKED + b"0\r\nA: " + b"a" * 40_000, 431, "head-too-large"),
    ],
)
async def test_a_malformed_request_is_refused_and_the_connection_closed(
    parser: ParserName, sent: bytes, status: int, slug: str
) -> None:
    echo = Echo()
    async with serving(echo, parser) as front:
        answer = await front.exchange(sent, GET + b"\r\n")
        reason = json.loads(answer.partition(b"\r\n\r\n")[2])["type"].rpartition(":")[2].replace("-", "_")
        assert front.closed(reason) == 1
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Connection: close" in head
    assert json.loads(body)["type"].startswith(f"urn:uq4ct:problem:{slug}")
    assert echo.requests == []  # also not the pipelined request after it
    assert f"Content-Length: {len(body)}".encode() in head


async def test_lines_without_carriage_returns_are_refused_at_once(parser: ParserName) -> None:
    """The empty line after the header would never be found, and the client would wait for the deadline."""
    async with serving(Echo(), parser) as front:
        answer = await front.exchange(b"GET / HTTP/1.1\nHost: a\n\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_pipelined_request_waits_for_the_answer_before_it(parser: ParserName) -> None:
    echo = Echo()
    async with serving(echo, parser) as front:
        answer = await front.exchange(
            GET + b"\r\n" + POST.replace(CLOSE, b"") + b"Content-Length: 2\r\n\r\nab" + GET + CLOSE + b"\r\n"
        )
    assert answer.count(b" 200 OK") == 3
    assert [path for _, path, _ in echo.requests] == ["/", "/p", "/"]


@pytest.mark.parametrize("framing", [b"Content-Length: 60000000", b"Transfer-Encoding: chunked"])
async def test_a_refusal_before_the_body_closes_the_connection(parser: ParserName, framing: bytes) -> None:
    """The client sees the refusal although it goes on sending, and the rest is not parsed."""
    async with serving(Echo(refuses=True), parser, limits=WireLimits(linger_seconds=0.5)) as front:
        answer = await front.exchange(
            POST.replace(CLOSE, b"") + framing + b"\r\n\r\n", *[b"1\r\nx\r\n" * 10_000] * 20, pause=0.001
        )
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer.lower()


async def test_a_refusal_after_the_body_keeps_the_connection(parser: ParserName) -> None:
    request = POST.replace(CLOSE, b"") + b"Content-Length: 3\r\n\r\nabc"
    async with serving(Echo(refuses=True), parser) as front:
        answer = await front.exchange(request, request + GET + CLOSE + b"\r\n")
    assert answer.count(b"HTTP/1.1 401 ") == 3


async def test_a_client_that_half_closes_gets_its_answer(parser: ParserName) -> None:
    echo = Echo()
    echo.may_answer.set()
    async with serving(echo, parser) as front:
        assert (await front.exchange(GET + b"\r\n", ends=True)).endswith(b"GET / ")
        late = await front.exchange(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n", ends=True)
        assert late.endswith(b"GET /slow ")
        assert await front.exchange(b"GET / HTTP/1.1\r\nHo", ends=True) == b""
        assert await front.exchange(POST + b"Content-Length: 3\r\n\r\nab", ends=True) == b""
