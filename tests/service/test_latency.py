"""The time that a response takes on the wire."""

from __future__ import annotations

import asyncio
import http.client
import secrets
import statistics
import time
from pathlib import Path

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from tests.ports import free_port
from tests.service.fake_predictor import FakeHost
from tests.service.readiness import until_ready
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.server import serve
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

pytestmark = pytest.mark.anyio


async def test_a_response_does_not_wait_for_an_acknowledgement(
    adapters: Registry, host: FakeHost, tmp_path: Path
) -> None:
    """A server writes a response in two parts; without TCP_NODELAY, the second waits 40 ms on most connections."""
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    settings = Settings(port=free_port(), default_model="toy", database_url=url, shutdown_grace_seconds=0)
    ids = TimeOrderedIds(time.time, secrets.randbits)
    serving = asyncio.create_task(serve(create_app(host.load, adapters, settings, CollectorRegistry(), ids), settings))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{settings.port}", timeout=20) as client:
        await until_ready(client)
    seconds = await asyncio.to_thread(_times, settings.port)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert statistics.median(seconds) < 0.03


def _times(port: int) -> list[float]:
    """Return the times of requests on one connection, after the first ones, which are acknowledged at once."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    seconds: list[float] = []
    for _ in range(60):
        begun = time.perf_counter()
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b'{"status":"live"}'
        seconds.append(time.perf_counter() - begun)
    connection.close()
    return seconds[20:]
