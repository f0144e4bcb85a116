"""Rendering the metrics: once for all who ask, with a pause, and never older than the request."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric, generate_latest

from tests.service.conftest import Start
from tests.service.served import answer, manifest_of
from uq4ct.service.telemetry.exposition import Exposition
from uq4ct.service.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


class Slow:
    """A collector that counts how often it is asked, and whether two ask at once."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.times: list[float] = []
        self.collecting = self.most = 0
        self.seconds = seconds

    def collect(self) -> Iterator[Metric]:
        self.times.append(time.monotonic())
        self.collecting += 1
        self.most = max(self.most, self.collecting)
        time.sleep(self.seconds)
        self.collecting -= 1
        yield Metric("made_up", "for the test", "gauge")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


async def test_the_text_is_that_of_the_library(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, ["triage", "tutoring"])
    metrics.announce_model(manifest_of())
    metrics.count_prediction(answer(0.7))
    text = await Exposition(registry, 0).render()
    assert text == generate_latest(registry)
    assert text.count(b"\n") > 600


async def test_all_who_ask_during_a_rendering_share_the_next_one(registry: CollectorRegistry) -> None:
    slow = Slow()
    exposition = Exposition(registry, 0.05)
    registry.register(slow)  # type: ignore[arg-type]
    slow.times.clear()
    first = asyncio.create_task(exposition.render())
    while not slow.times:
        await asyncio.sleep(0.001)
    later = [asyncio.create_task(exposition.render()) for _ in range(50)]
    await asyncio.gather(first, *later)
    assert len(slow.times) == 2
    assert slow.most == 1
    assert slow.times[1] - slow.times[0] >= slow.seconds + 0.05


async def test_eager_scrapers_get_one_rendering_a_pause(registry: CollectorRegistry) -> None:
    slow = Slow()
    registry.register(slow)  # type: ignore[arg-type]
    slow.times.clear()
    exposition = Exposition(registry, 0.08)
    end = time.monotonic() + 0.5

    async def scrape() -> None:
        while time.monotonic() < end:
            await exposition.render()

    await asyncio.gather(*(scrape() for _ in range(12)))
    assert 2 <= len(slow.times) <= 7
    assert slow.most == 1


async def test_a_scrape_shows_every_earlier_change(registry: CollectorRegistry) -> None:
    counter = Counter("changes", "for the test", registry=registry)
    exposition = Exposition(registry, 0.01)
    eager = asyncio.create_task(_keep_scraping(exposition))
    for number in range(1, 20):
        counter.inc()
        assert f"changes_total {number}.0".encode() in await exposition.render()
    eager.cancel()


async def test_a_scrape_after_the_pause_waits_for_nothing(registry: CollectorRegistry) -> None:
    exposition = Exposition(registry, 0.2)
    await exposition.render()
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    await exposition.render()
    assert time.monotonic() - begun < 0.15


async def test_after_a_failure_and_a_scraper_that_left_the_next_one_is_answered(registry: CollectorRegistry) -> None:
    counter = Counter("changes", "for the test", registry=registry)
    exposition = Exposition(registry, 0.01)
    broken = _Broken()
    registry.register(broken)  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        await exposition.render()
    registry.unregister(broken)  # type: ignore[arg-type]
    gone = asyncio.create_task(exposition.render())
    await asyncio.sleep(0)
    gone.cancel()
    counter.inc()
    assert b"changes_total 1.0" in await exposition.render()


async def test_the_pause_is_a_setting(start: Start) -> None:
    async with start(metrics_pause_seconds=0.2) as replica:
        begun = time.monotonic()
        for _ in range(3):
            assert (await replica.client.get("/metrics")).status_code == 200
        assert time.monotonic() - begun >= 0.4


async def test_the_event_loop_gets_its_turn_sooner_than_from_the_library(registry: CollectorRegistry) -> None:
    counter = Counter("changes", "for the test", ["number"], registry=registry)
    for number in range(5000):
        counter.labels(str(number)).inc()
    exposition = Exposition(registry, 0)
    plain = await _median_wait(lambda: asyncio.to_thread(generate_latest, registry))
    assert await _median_wait(exposition.render) < plain / 2


async def _median_wait(work: Callable[[], Awaitable[bytes]]) -> float:
    """Return the median time that the event loop is late while `work` is done, in seconds."""
    waits: list[float] = []
    for _ in range(3):
        task = asyncio.ensure_future(work())
        while not task.done():
            begun = time.perf_counter()
            await asyncio.sleep(0.0002)
            waits.append(time.perf_counter() - begun - 0.0002)
    return statistics.median(waits)


class _Broken:
    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Any:
        raise ZeroDivisionError


async def _keep_scraping(exposition: Exposition) -> None:
    while True:
        await exposition.render()
