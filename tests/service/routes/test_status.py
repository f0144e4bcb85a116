"""One replica at a glance, and the latency that it shows."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Start
from tests.service.fake_predictor import FakePredictor
from uq4ct import __version__
from uq4ct.service.telemetry.recent import MOST_REQUESTS, WINDOW_SECONDS, RecentRequests

pytestmark = pytest.mark.anyio


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """An empty file of keys."""
    return KeyHolder(tmp_path)


def test_the_latency_is_of_the_last_minutes() -> None:
    now = 1000.0
    recent = RecentRequests(lambda: now)
    assert recent.latency() is None
    recent.add(9.0)
    now += WINDOW_SECONDS + 1
    assert recent.latency() is None
    recent.add(0.5)
    only = recent.latency()
    assert only is not None
    assert (only.requests, only.median, only.p95) == (1, 0.5, 0.5)
    for hundredths in range(21):
        recent.add(hundredths / 100)
    now += 1
    found = recent.latency()
    assert found is not None
    assert (found.requests, found.median) == (22, pytest.approx(0.105))
    assert found.p95 == pytest.approx(0.1995)  # 22 values: at place 19.95 of 0 to 21
    for _ in range(MOST_REQUESTS):
        recent.add(2.0)
    found = recent.latency()
    assert found is not None
    assert (found.requests, found.median, found.p95) == (MOST_REQUESTS, 2.0, 2.0)


async def test_the_status_tells_of_the_replica_and_of_the_key(start: Start, keys: KeyHolder) -> None:
    reader = keys.new("predict", "feedback", key_id="reader", tenant="clinic")
    admin = keys.new("admin", key_id="admin", tenant="operators")
    async with start(api_keys_file=keys.file, max_concurrent_requests=80) as replica:
        body = (await replica.client.get("/status", headers=reader)).json()
        started = body.pop("started_at")
        assert body == {
            "version": __version__, "default_model": "toy@1", "ready": True, "queue": {"waiting": 0, "limit": 80},
            "latency": None, "tenant": "clinic", "scopes": ["feedback", "predict"],
        }  # fmt: skip
        assert started.endswith("Z")
        question = {"question": "Which?", "options": ["a", "b"]}
        for _ in range(2):
            await replica.client.post("/predict", json=question, headers=reader)
        await replica.client.post("/predict", json={}, headers=reader)  # not answered
        body = (await replica.client.get("/status", headers=admin)).json()
        assert body["latency"]["requests"] == 2
        assert 0 < body["latency"]["median_seconds"] <= body["latency"]["p95_seconds"] < 20
        assert (body["tenant"], body["scopes"]) == ("operators", ["admin", "feedback", "predict"])


async def test_a_replica_that_loads_says_so(start: Start) -> None:
    async with start(wait=False) as replica:
        body = (await replica.client.get("/status")).json()
        if not body["ready"]:
            assert body["default_model"] is None
        until = time.monotonic() + 10
        while not (body := (await replica.client.get("/status")).json())["ready"]:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert body["default_model"] == "toy@1"


async def test_waiting_questions_are_counted(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        predictor.forward_may_start.clear()
        asked = [asyncio.create_task(replica.ask(f"q{number}")) for number in range(7)]
        await replica.settle(lambda: replica.context.engine.queue[0] == 7)
        assert (await replica.client.get("/status")).json()["queue"]["waiting"] == 7
        predictor.forward_may_start.set()
        await asyncio.gather(*asked)
        assert (await replica.client.get("/status")).json()["queue"]["waiting"] == 0
