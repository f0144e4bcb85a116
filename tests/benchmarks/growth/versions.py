"""Row 5: the first page of `GET /models`."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2

from tests.benchmarks.growth.curves import Curve
from tests.benchmarks.growth.tiny import tiny_store
from tests.benchmarks.served import running_service
from tests.many_versions import copy_versions

VERSIONS = (5, 50, 500, 5_000)


def measure(folder: Path) -> list[Curve]:
    """Return seconds and bytes of the list, and the slowest `/health/live` while four ask for it first."""
    points: dict[str, list[tuple[float, float]]] = {}
    for count in VERSIONS:
        root = folder / str(count)
        root.mkdir()
        registry = tiny_store(root)
        copy_versions(registry, "point", count)
        with running_service(registry.root) as service, httpx2.Client(base_url=service.address, timeout=60) as client:
            client.get("/health/live")
            with ThreadPoolExecutor(4) as pool:
                first = [pool.submit(httpx2.get, f"{service.address}/models", timeout=60) for _ in range(4)]
                slowest = _timed(client, "/health/live")[0]
                while not all(one.done() for one in first):
                    slowest = max(slowest, _timed(client, "/health/live")[0])
            warm = [_timed(client, "/models") for _ in range(7)]
        figures = {
            "GET /models, s": statistics.median(seconds for seconds, _ in warm),
            "GET /models, bytes": warm[0][1],
            "slowest /health/live during the first four, s": slowest,
        }
        for figure, value in figures.items():
            points.setdefault(figure, []).append((count, value))
    aims = (0.1, 200_000, None)
    return [
        Curve("5", name, "versions", found, most=most) for (name, found), most in zip(points.items(), aims, strict=True)
    ]


def _timed(client: httpx2.Client, path: str) -> tuple[float, int]:
    begun = time.perf_counter()
    response = client.get(path).raise_for_status()
    return time.perf_counter() - begun, len(response.content)
