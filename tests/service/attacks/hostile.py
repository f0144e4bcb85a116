"""Hostile traffic against a service on loopback, each kind bounded in time and volume."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

MEGABYTE = 1_000_000
HOST = b"Host: 127.0.0.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
JSON = b"Content-Type: application/json\r\n"
Statuses = Counter[str]


@dataclass(frozen=True, slots=True)
class Target:
    """A service, its model, a key for it if it needs one, and when to stop (monotonic seconds)."""

    port: int
    model: str
    key: str | None
    until: float

    @property
    def over(self) -> bool:
        return time.monotonic() > self.until

    def head(self, method: str, path: str, *, with_key: bool = True) -> bytes:
        """The request line, Host and key of a request."""
        key = f"Authorization: Bearer {self.key}\r\n".encode() if self.key and with_key else b""
        return f"{method} {path} HTTP/1.1\r\n".encode() + HOST + key

    def post(self, path: str, body: object) -> bytes:
        """A whole request."""
        content = json.dumps(body).encode()
        return self.head("POST", path) + JSON + b"Content-Length: %d\r\n\r\n" % len(content) + content


@dataclass(frozen=True, slots=True)
class Attack:
    """What it sends, and the only statuses that may come back; "closed" is the end of a connection without one."""

    send: Callable[[Target], Statuses]
    allowed: frozenset[str]


def exchange(port: int, pieces: Iterable[bytes], *, ends: bool = False) -> str:
    """Send pieces on a new connection until the server answers or closes; return the status, or "closed"."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        return read_status(connection)
    return "closed"


def read_status(connection: socket.socket) -> str:
    """Return the status of the next response, or "closed"; skips interim responses and reads to their end."""
    received = b""
    with contextlib.suppress(OSError):
        while b"\r\n\r\n" not in received and (data := connection.recv(65_536)):
            received += data
            if received.startswith(b"HTTP/1.1 100"):
                received = received.partition(b"\r\n\r\n")[2]
    return received.split(b" ", 2)[1].decode() if received.count(b" ") >= 2 else "closed"


def again_and_again(target: Target, once: Callable[[], str], threads: int = 1) -> Statuses:
    """Repeat an exchange in some threads until the time is over."""
    statuses: Statuses = Counter()

    def repeat() -> None:
        while not target.over:
            statuses[once()] += 1

    workers = [threading.Thread(target=repeat) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return statuses


def repeat_outputs(target: Target) -> Statuses:
    options = json.dumps([f"option {number}" for number in range(26)])
    tensors = {"question": ["Which?"] * 64, "options": [options] * 64}
    inputs = [{"name": name, "shape": [64], "datatype": "BYTES", "data": data} for name, data in tensors.items()]
    body = target.post(
        f"/v2/models/{target.model}/infer", {"inputs": inputs, "outputs": [{"name": "probabilities"}] * 24_000}
    )
    return again_and_again(target, lambda: exchange(target.port, [body]), threads=2)


def _tiny_chunks(head: bytes) -> Iterator[bytes]:
    yield head + CHUNKED
    for _ in range(60):
        yield b"1\r\nx\r\n" * 20_000  # 7 MB in all


def chunks_after_a_refusal(target: Target) -> Statuses:
    """Bodies in one-byte chunks: without a key, of the wrong type, and too large."""
    heads = [
        target.head("POST", "/predict", with_key=False) + JSON,
        target.head("POST", "/predict") + b"Content-Type: text/plain\r\n",
        target.head("POST", "/predict") + JSON,
    ]
    turns = iter(range(10**9))
    return again_and_again(target, lambda: exchange(target.port, _tiny_chunks(heads[next(turns) % 3])), threads=8)


def _without_end(start: bytes, piece: bytes) -> Iterator[bytes]:
    yield start
    for _ in range(100 * MEGABYTE // len(piece)):
        yield piece


def heads_without_end(target: Target) -> Statuses:
    """Headers, header lines, request lines and trailers of up to 100 MB."""
    get = target.head("GET", "/health/live")
    streams = [
        (get, b"A: b\r\n" * 10_000),
        (get + b"A: ", b"a" * 65_536),
        (b"GET /", b"a" * 65_536),
        (target.head("POST", "/predict") + JSON + CHUNKED + b"0\r\n", b"A: b\r\n" * 10_000),
        (target.head("POST", "/predict") + JSON + CHUNKED + b"2\r\n{}\r\n0\r\nA: ", b"a" * 65_536),
        (target.head("POST", "/predict") + JSON + CHUNKED + b"1;", b"a" * 65_536),
    ]
    turns = iter(range(10**9))

    def once() -> str:
        return exchange(target.port, _without_end(*streams[next(turns) % len(streams)]))

    return again_and_again(target, once, threads=4)


def waiting_connections(target: Target) -> Statuses:
    """Connections that send nothing, half a header or half a body, more than the service has descriptors for."""
    starts = [
        b"",
        b"GET / HTTP/1.1\r\nHost",
        target.head("POST", "/predict") + JSON + b"Content-Length: 1000\r\n\r\n{",
    ]
    held: list[socket.socket] = []
    statuses: Statuses = Counter()
    for number in range(1_400):
        try:
            connection = socket.create_connection(("127.0.0.1", target.port), timeout=2)
            connection.sendall(starts[number % 3])
            held.append(connection)
        except OSError:
            statuses["closed"] += 1
    while not target.over:
        time.sleep(0.05)
    for connection in held:
        connection.settimeout(0.001)
        statuses[read_status(connection)] += 1
        connection.close()
    return statuses


def foreign_pages(target: Target) -> Statuses:
    """Requests as a browser sends them for a page of another site."""
    question = json.dumps({"question": "Which?", "options": ["a", "b"]}).encode()
    length = b"Content-Length: %d\r\n" % len(question)
    headers = [
        b"Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
        b"Origin: null\r\n",
        b"Sec-Fetch-Site: cross-site\r\n",
    ]
    requests = [target.head("POST", "/predict") + JSON + header + length + b"\r\n" + question for header in headers]
    loads = [
        target.head("POST", f"/models/{target.model}/load") + header + b"Content-Length: 0\r\n\r\n"
        for header in headers
    ]
    every = [*requests, *loads]
    turns = iter(range(10**9))
    return again_and_again(target, lambda: exchange(target.port, [every[next(turns) % len(every)]]), threads=2)


def scrapers(target: Target) -> Statuses:
    request = target.head("GET", "/metrics") + b"Connection: close\r\n\r\n"
    return again_and_again(target, lambda: exchange(target.port, [request]), threads=12)


def documentation(target: Target) -> Statuses:
    request = target.head("GET", "/docs") + b"Connection: close\r\n\r\n"
    return again_and_again(target, lambda: exchange(target.port, [request]), threads=2)


def two_lengths(target: Target) -> Statuses:
    """A request with two framings, and another one hidden behind it."""
    hidden = target.head("GET", "/health/live") + b"\r\n"
    request = target.head("POST", "/predict") + JSON + b"Content-Length: 5\r\n" + CHUNKED + b"0\r\n\r\n" + hidden
    return again_and_again(target, lambda: exchange(target.port, [request]), threads=2)


def half_closed(target: Target) -> Statuses:
    """Clients that end their side after the request, and clients that are gone before the answer."""
    request = target.post("/predict", {"question": "Which?", "options": ["a", "b"]})
    statuses = again_and_again(target, lambda: exchange(target.port, [request], ends=True), threads=2)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", target.port), timeout=10) as connection:
            connection.sendall(request)
    return statuses


def long_questions(target: Target) -> Statuses:
    """Bodies of almost 2 MB: long texts, deep nesting, many fields."""
    bodies = [
        target.post("/predict", {"question": "word " * 379_000, "options": ["a", "b"]}),
        target.post("/predict", {"question": "x" * 1_899_000, "options": ["a", "b"]}),
        target.post("/predict", {"question": "Which?", "options": ["a", "b"], "tags": {"x": "y" * 1_800_000}}),
        target.post("/predict/batch", {"questions": [{"question": "", "options": []}] * 60_000}),
    ]
    nested = b"[" * 900_000 + b"]" * 900_000
    head = target.head("POST", "/predict") + JSON
    bodies.append(head + b"Content-Length: %d\r\n\r\n" % len(nested) + nested)
    turns = iter(range(10**9))
    return again_and_again(target, lambda: exchange(target.port, [bodies[next(turns) % len(bodies)]]), threads=2)


# With "closed": the connection may be gone before the refusal is read.
ATTACKS: dict[str, Attack] = {
    "repeated outputs": Attack(repeat_outputs, frozenset({"422"})),
    "chunks after a refusal": Attack(chunks_after_a_refusal, frozenset({"400", "401", "413", "415", "closed"})),
    "heads without end": Attack(heads_without_end, frozenset({"400", "414", "431", "closed"})),
    "waiting connections": Attack(waiting_connections, frozenset({"408", "503", "closed"})),
    "foreign pages": Attack(foreign_pages, frozenset({"403"})),
    "scrapers": Attack(scrapers, frozenset({"200"})),
    "documentation": Attack(documentation, frozenset({"200"})),
    "two lengths": Attack(two_lengths, frozenset({"400"})),
    "half-closed": Attack(half_closed, frozenset({"200", "429"})),
    "long questions": Attack(long_questions, frozenset({"400", "413", "422"})),
}
