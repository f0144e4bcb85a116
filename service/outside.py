"""Calls that wait for something outside, such as a database or a file system: in threads, with a bound on each wait.

What hangs holds a thread and delays calls of the same kind, but neither the event loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_MOST_WAITING = 1000  # calls without a result; a caller that gave up leaves its call in the queue


class NoAnswerError(RuntimeError):
    """A call has had no result in time, or too many calls wait already."""


class OutsideCalls:
    """Runs calls in daemon threads, which end with the process; `concurrent.futures` waits for its threads forever."""

    def __init__(self, threads: int, name: str, seconds: float) -> None:
        """`seconds` is how long `ask` waits for a result, the time in the queue included."""
        self._limit = threads
        self._name = name
        self._seconds = seconds
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unfinished = 0
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Queue a call; its future has the result.

        Raises:
            NoAnswerError: too many calls wait already.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._unfinished >= _MOST_WAITING:
                raise NoAnswerError(f"{self._unfinished} calls wait already")
            self._unfinished += 1
            if len(self._threads) < min(self._limit, self._unfinished):
                self._start_thread()
        self._queue.put((future, work))
        return future

    async def ask(self, work: Callable[..., T], *arguments: object, seconds: float | None = None) -> T:
        """Return the result of a call; raises what it raises. `seconds` replaces the usual bound.

        Raises:
            NoAnswerError: it has no result in time, or too many calls wait already; it may still run.
        """
        future = asyncio.wrap_future(self.submit(partial(work, *arguments)))
        limit = self._seconds if seconds is None else seconds
        try:
            done, _ = await asyncio.wait({future}, timeout=limit)
        finally:
            future.cancel()  # if it still waits for a thread
        if not done:
            raise NoAnswerError(f"no answer in {limit:g} seconds")
        return future.result()

    async def close(self, seconds: float) -> bool:
        """End the threads after the calls in the queue; return whether they ended within `seconds`."""
        for _ in self._threads:
            self._queue.put(None)
        return await asyncio.to_thread(self._join, time.monotonic() + seconds)

    def _join(self, until: float) -> bool:
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name=f"{self._name}_{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            self._answer(*call)
            del call  # it holds the result, and its arguments
            with self._lock:
                self._unfinished -= 1

    @staticmethod
    def _answer(future: Future[Any], work: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)
