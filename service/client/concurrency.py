"""Several calls at a time, with their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from uq4ct.service.client.steps import Steps
from uq4ct.service.client.values import read_whole

DEFAULT_CONCURRENCY = 4  # chunks
_MOST = 8  # with 64 items each, the service's default UQ4CT_MAX_CONCURRENT_REQUESTS

Progress = Callable[[int, int], object]  # called with the number of finished items and of all

T = TypeVar("T")


def check_concurrency(concurrency: int) -> int:
    """Return the number of calls at a time; raises InvalidArgumentError if it is not a whole number, 1 to 8."""
    return read_whole("concurrency", concurrency, 1, _MOST)


def run_in_order(run: Callable[[Steps[T]], T], calls: Iterable[Steps[T]], concurrency: int) -> Generator[T, None, None]:
    """Run calls in up to `concurrency` threads; yield the results in order. An error ends all."""
    if concurrency == 1:
        yield from map(run, calls)
        return
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="uq4ct-client")
    running: deque[Future[T]] = deque()
    try:
        for call in calls:
            if len(running) == concurrency:
                yield running.popleft().result()
            running.append(pool.submit(run, call))
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


async def run_in_order_async(
    run: Callable[[Steps[T]], Coroutine[Any, Any, T]], calls: Iterable[Steps[T]], concurrency: int
) -> AsyncGenerator[T, None]:
    """Run calls in up to `concurrency` tasks; yield the results in order. An error cancels all."""
    running: deque[asyncio.Task[T]] = deque()
    try:
        for call in calls:
            if len(running) == concurrency:
                yield await running[0]
                running.popleft()
            running.append(asyncio.create_task(run(call)))
        while running:
            yield await running[0]
            running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
