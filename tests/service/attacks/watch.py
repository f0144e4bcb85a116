"""Probe /health/live and the memory of a service while something else happens to it."""

from __future__ import annotations

import gc
import http.client
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.benchmarks.served import RunningService

_BETWEEN_PROBES = 0.02


@dataclass
class Watch:
    """Seconds of each probe, and the most memory of the process, in megabytes."""

    seconds: list[float] = field(default_factory=list)
    memory: float = 0.0

    @property
    def p50(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[-1]  # never above the slowest


@contextmanager
def watching(service: RunningService) -> Iterator[Watch]:
    """Probe until the block ends, each time on the same connection unless the service has closed it."""
    watch, over = Watch(), threading.Event()
    thread = threading.Thread(target=_probe, args=(service, watch, over))
    gc.disable()  # a full collection of a process with torch in it would count as a pause of the service
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()
        gc.enable()


def _probe(service: RunningService, watch: Watch, over: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    while not over.wait(_BETWEEN_PROBES):
        watch.memory = max(watch.memory, service.resident_megabytes)
        begun = time.perf_counter()
        try:
            connection.request("GET", "/health/live")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            connection.close()  # the time counts all the same
        watch.seconds.append(time.perf_counter() - begun)
    connection.close()
