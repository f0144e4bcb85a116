"""A load generator in its own process: `python -m tests.benchmarks.http_load` reads plans and prints replies.

It speaks HTTP/1.1 over plain sockets, because on two cores a client library would use up the time that is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

IDLE_SECONDS = 3.0  # the service closes connections that are idle for 5


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: its status, its latency in seconds, its time (monotonic seconds) and its `Retry-After`."""

    status: int
    seconds: float
    ended: float
    retry_after: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The requests to send to `POST /predict`.

    Closed loop (`rate` None): every body once, `connections` in flight, but none after `seconds`, unless 0; a client
    that is refused waits as `Retry-After` says. Open loop: for `seconds`, at `rate` a second on average with
    exponential gaps, whether or not answers come; the latency of a reply counts from its planned start.
    """

    port: int
    bodies: list[str]
    connections: int
    rate: float | None = None
    seconds: float = 0.0
    seed: int = 0


@contextmanager
def load_generator() -> Iterator[Callable[[Plan], list[Reply]]]:
    """Start a process that carries out plans one after the other; its start-up is over before the first."""
    command = [sys.executable, "-m", "tests.benchmarks.http_load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the load generator has no pipes")
        into, out = process.stdin, process.stdout
        out.readline()

        def send(plan: Plan) -> list[Reply]:
            into.write(json.dumps(asdict(plan)) + "\n")
            into.flush()
            line = out.readline()
            if not line:
                raise RuntimeError("the load generator has ended")
            return [Reply(**reply) for reply in json.loads(line)]

        yield send


class _Connection:
    """One kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._used = time.perf_counter()

    @classmethod
    async def open(cls, port: int) -> _Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def old(self) -> bool:
        """Whether the service has closed the connection, or might do so during a request."""
        return self._reader.at_eof() or time.perf_counter() - self._used > IDLE_SECONDS

    async def post(self, body: bytes, start: float) -> Reply:
        """Send a question and read the whole reply; its latency counts from `start`."""
        head = "POST /predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        self._writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        await self._reader.readexactly(int(headers["content-length"]))
        self._used = time.perf_counter()
        retry_after = headers.get("retry-after")
        return Reply(
            status=int(lines[0].split()[1]),
            seconds=self._used - start,
            ended=self._used,
            retry_after=None if retry_after is None else int(retry_after),
        )


async def _closed(plan: Plan) -> list[Reply]:
    waiting = [body.encode() for body in reversed(plan.bodies)]
    end = time.perf_counter() + (plan.seconds or float("inf"))
    replies: list[Reply] = []

    async def ask() -> None:
        connection = await _Connection.open(plan.port)
        while waiting and time.perf_counter() < end:
            if connection.old:
                connection = await _Connection.open(plan.port)
            reply = await connection.post(waiting.pop(), time.perf_counter())
            replies.append(reply)
            if reply.retry_after:
                await asyncio.sleep(min(reply.retry_after, max(0.0, end - time.perf_counter())))

    await asyncio.gather(*(ask() for _ in range(plan.connections)))
    return replies


async def _open(plan: Plan, rate: float) -> list[Reply]:
    bodies = [body.encode() for body in plan.bodies]
    free: list[_Connection] = [await _Connection.open(plan.port) for _ in range(plan.connections)]
    gaps = random.Random(plan.seed)

    async def ask(body: bytes, start: float) -> Reply:
        while free and free[-1].old:
            free.pop()
        connection = free.pop() if free else await _Connection.open(plan.port)
        reply = await connection.post(body, start)
        free.append(connection)
        return reply

    tasks: list[asyncio.Task[Reply]] = []
    begin = start = time.perf_counter()
    while start < begin + plan.seconds:
        await asyncio.sleep(max(0.0, start - time.perf_counter()))
        tasks.append(asyncio.create_task(ask(bodies[len(tasks) % len(bodies)], start)))
        start += gaps.expovariate(rate)
    return await asyncio.gather(*tasks)


def replies_to(plan: Plan) -> Sequence[Reply]:
    """Carry out a plan in this process."""
    return asyncio.run(_closed(plan) if plan.rate is None else _open(plan, plan.rate))


def _serve() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps([asdict(reply) for reply in replies_to(Plan(**json.loads(line)))]), flush=True)


if __name__ == "__main__":
    _serve()
