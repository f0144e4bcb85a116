"""Row 1: four clients ask the embedded base model while other programs compute."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.growth.curves import Curve, cpu_seconds
from tests.benchmarks.http_load import Plan, load_generator
from tests.benchmarks.served import running_service
from tests.benchmarks.small_adapter import publish_small
from uq4ct.training.data import facts

NEIGHBOURS = (0, 1, 2, 4)
CLIENTS = 4
SECONDS = 20.0
_BUSY = "while True: pass"


def measure(folder: Path) -> list[Curve]:
    """Return the answers a second, their 99th percentile and their CPU time, by the number of programs."""
    publish_small(folder, folder / "store")
    bodies = [json.dumps({"question": q.text, "options": q.options}) for q in facts.build().test]
    found: list[tuple[float, float, float]] = []
    with load_generator() as send, running_service(folder / "store") as service:
        send(Plan(service.port, bodies[:16], CLIENTS))
        for number in NEIGHBOURS:
            with busy(number), cpu_seconds(service.process) as cpu:
                send(Plan(service.port, bodies, CLIENTS, seconds=2.0))  # the threads adapt
                replies = send(Plan(service.port, bodies * 10, CLIENTS, seconds=SECONDS))
            answered = [reply.seconds for reply in replies if reply.status == 200]
            found.append((len(answered) / SECONDS, _p99(answered), cpu[0] / len(answered)))
    programs = [1 + number for number in NEIGHBOURS]
    rates, slowest, cpus = (list(zip(programs, values, strict=True)) for values in zip(*found, strict=True))
    size = "programs that compute, with the service"
    return [
        Curve("1", "answers/s, 4 clients", size, rates),
        Curve("1", "p99 of an answer, s", size, slowest, most=1.0),
        Curve("1", "CPU-s an answer", size, cpus),
    ]


@contextmanager
def busy(number: int) -> Iterator[None]:
    """Run programs that compute all the time."""
    with ExitStack() as stack:
        for _ in range(number):
            stack.callback(subprocess.Popen([sys.executable, "-c", _BUSY]).kill)
        yield


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]
