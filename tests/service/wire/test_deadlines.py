"""Connections that are late, idle, stalled, gone or too many are closed, with either parser."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable

import pytest

from tests.service.wire.fronts import PARSERS, Echo, Front, serving
from uq4ct.service.wire.limits import WireLimits
from uq4ct.service.wire.parsers import ParserName

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("parser", PARSERS)]
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SLOW = GET.replace(b"/ ", b"/slow ")
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture(autouse=True)
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uq4ct.service.wire.connections._BETWEEN_CHECKS", 0.05)


async def _until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [(b"", "idle"), (GET, "idle"), (b"GET / HTTP/1.1\r\nHos", "too_slow"), (POST + b"x" * 10, "too_slow")],
)
async def test_a_late_connection_is_closed(parser: ParserName, sent: bytes, reason: str) -> None:
    limits = WireLimits(head_seconds=0.15, body_seconds=0.15, idle_seconds=0.15)
    async with serving(Echo(), parser, limits=limits) as front:
        begun = time.monotonic()
        answer = await front.exchange(*([sent] if sent else []))
        assert 0.1 < time.monotonic() - begun < 3
        assert front.closed(reason) == 1
        await _until(lambda: front.open == 0)
    assert (b"HTTP/1.1 408 " in answer) == (reason == "too_slow")


async def test_a_slow_body_above_the_least_rate_arrives(parser: ParserName) -> None:
    limits = WireLimits(body_seconds=0.1, body_rate=1_000)
    echo = Echo()
    async with serving(echo, parser, limits=limits) as front:
        answer = await front.exchange(
            POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), *[b"x" * 100] * 10, pause=0.05
        )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(echo.requests[0][2]) == 1000


async def test_a_header_byte_by_byte_does_not_extend_its_time(parser: ParserName) -> None:
    async with serving(Echo(), parser, limits=WireLimits(head_seconds=0.2)) as front:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        begun = time.monotonic()
        while not reader.at_eof() and time.monotonic() - begun < 3:
            with contextlib.suppress(ConnectionError):
                writer.write(b"G")
                await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(100), 0.02)
        assert time.monotonic() - begun < 2
        assert front.closed("too_slow") == 1
        writer.close()


async def test_a_client_that_takes_no_byte_of_its_answer_is_dropped(parser: ParserName) -> None:
    async with serving(Echo(), parser, limits=WireLimits(stall_seconds=0.2)) as front:
        with socket.create_connection(("127.0.0.1", front.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(GET.replace(b"/ ", b"/large "))
            await _until(lambda: front.closed("stalled"))
            await _until(lambda: front.open == 0)


async def test_at_the_limit_the_connection_idle_for_longest_is_evicted(parser: ParserName) -> None:
    async with serving(Echo(), parser, most=3) as front:
        idle = [await asyncio.open_connection("127.0.0.1", front.port) for _ in range(3)]
        idle[0][1].write(GET)  # it is no longer the oldest
        await idle[0][0].readuntil(b"GET / ")
        answer = await front.exchange(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert front.closed("evicted") == 1
        assert await idle[1][0].read() == b""
        idle[0][1].write(GET)
        await idle[0][0].readuntil(b"GET / ")
        for _, writer in idle:
            writer.close()


async def test_a_client_that_has_asked_is_evicted_after_those_that_have_not(parser: ParserName) -> None:
    """Connections that send nothing do not take the kept-alive connection of a client that pauses."""
    async with serving(Echo(), parser, most=3) as front:
        pausing = await asyncio.open_connection("127.0.0.1", front.port)
        pausing[1].write(GET)
        await pausing[0].readuntil(b"GET / ")
        silent = [await asyncio.open_connection("127.0.0.1", front.port) for _ in range(9)]
        await _until(lambda: front.closed("evicted") == 7)
        pausing[1].write(GET)
        await pausing[0].readuntil(b"GET / ")
        for _, writer in (pausing, *silent):
            writer.close()


async def test_where_every_connection_is_busy_a_new_one_is_refused(parser: ParserName) -> None:
    echo = Echo()
    async with serving(echo, parser, most=2) as front:
        busy = [await asyncio.open_connection("127.0.0.1", front.port) for _ in range(2)]
        for _, writer in busy:
            writer.write(SLOW)
        await _until(lambda: len(echo.headers) == 2)
        answer = await front.exchange(GET)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 1\r\n" in answer
        assert front.closed("too_many_connections") == 1
        echo.may_answer.set()
        for reader, writer in busy:
            await reader.readuntil(b"GET /slow ")
            writer.close()
        await _until(lambda: front.open == 0)
        assert (await _first_line(front)).startswith(b"HTTP/1.1 200 ")


async def _first_line(front: Front) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(GET)
    line = await reader.readline()
    writer.close()
    return line


@pytest.mark.parametrize("resets", [True, False])
async def test_a_client_that_is_gone_ends_the_work_for_it(parser: ParserName, resets: bool) -> None:
    """A closed connection looks half closed at first; an interim response makes it reset."""
    echo = Echo()
    async with serving(echo, parser) as front:
        client = socket.create_connection(("127.0.0.1", front.port))
        client.sendall(SLOW)
        await _until(lambda: echo.headers)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await _until(lambda: echo.disconnects == 1)
        await _until(lambda: front.open == 0)
