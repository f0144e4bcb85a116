"""Row 13: answers a second of the embedded base model at and beyond saturation."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks.growth.curves import Curve
from tests.benchmarks.http_load import Plan, Reply, load_generator
from tests.benchmarks.served import running_service
from tests.benchmarks.small_adapter import publish_small
from uq4ct.training.data import facts

SATURATING = 64  # clients
TIMES = (1, 2, 4, 8)  # saturation
SECONDS = 15.0


def measure(folder: Path) -> list[Curve]:
    """Return the answers a second, of those at saturation, with more clients and with more requests."""
    publish_small(folder, folder / "store")
    bodies = [json.dumps({"question": q.text, "options": q.options}) for q in facts.build().test] * 20
    with load_generator() as send, running_service(folder / "store") as service:
        send(Plan(service.port, bodies, SATURATING, seconds=5.0))

        def closed(times: int) -> float:
            return _rate(send(Plan(service.port, bodies, SATURATING * times, seconds=SECONDS)))

        clients = [(times, closed(times)) for times in TIMES]
        capacity = clients[0][1]

        def opened(times: int) -> float:
            return _rate(send(Plan(service.port, bodies, SATURATING, rate=capacity * times, seconds=SECONDS)))

        requests = [(times, opened(times)) for times in TIMES]
    size = "times saturation"
    return [
        Curve("13", f"answers/s, {SATURATING} clients and more, of their peak", size, _shares(clients), least=0.95),
        Curve("13", "answers/s at multiples of that rate, of their peak", size, _shares(requests), least=0.95),
    ]


def _rate(replies: list[Reply]) -> float:
    """Return the answers a second between the first and the last one."""
    ended = sorted(reply.ended for reply in replies if reply.status == 200)
    return (len(ended) - 1) / (ended[-1] - ended[0])


def _shares(rates: list[tuple[int, float]]) -> list[tuple[float, float]]:
    peak = max(rate for _, rate in rates)
    return [(times, rate / peak) for times, rate in rates]
