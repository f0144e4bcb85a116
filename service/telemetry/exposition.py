"""The Prometheus text of a registry, for any number of scrapers at the cost of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Metric, generate_latest

_SAMPLES_IN_A_ROW = 100  # written before other threads get a turn, well below a millisecond


class Exposition:
    """Renders a registry in a thread, once at a time and with a pause in between. For the event loop's thread only.

    A text is never older than the request for it: whoever asks during a rendering or a pause gets the next one.
    """

    def __init__(self, registry: CollectorRegistry, pause_seconds: float) -> None:
        self._registry = registry
        self._pause = pause_seconds
        self._due = 0.0  # of the next rendering, by the event loop's clock
        self._current: asyncio.Task[bytes] | None = None
        self._next: asyncio.Task[bytes] | None = None

    async def render(self) -> bytes:
        """Return the text of all metrics as they are now or a little later."""
        if self._next is None:
            self._next = asyncio.create_task(self._render_after(self._current))
        return await asyncio.shield(self._next)

    async def _render_after(self, earlier: asyncio.Task[bytes] | None) -> bytes:
        if earlier is not None:
            await asyncio.wait([earlier])
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._due - loop.time()))
        self._current, self._next = self._next, None
        try:
            return await asyncio.to_thread(generate_latest, _InPieces(self._registry))
        finally:
            self._due = loop.time() + self._pause


class _InPieces:
    """The metrics of a registry with samples that let other threads run from time to time.

    The interpreter would switch to a waiting thread only after 5 ms, and the event loop waits many times per request.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        for metric in self._registry.collect():
            samples: Any = _with_turns(metric.samples)
            metric.samples = samples
            yield metric


def _with_turns(samples: Sequence[Any]) -> Iterator[Any]:
    for number, sample in enumerate(samples, start=1):
        if number % _SAMPLES_IN_A_ROW == 0:
            time.sleep(0)  # releases the interpreter lock
        yield sample
