"""A week of questions through the real service in minutes: its clock is simulated, so the ledger holds a whole week.

    python -m tests.benchmarks.simulated_week STORE QUESTIONS.jsonl SHIFTED.jsonl LEDGER.sqlite3 [QUESTIONS ASKED]

The week ends now, so that `uq4ct calibration-report --window 8d` finds all of it.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from tests.service.access.fake_clocks import FakeTime
from uq4ct.client import AsyncClient
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.engine.predictor import Host
from uq4ct.service.loading import choose_reference, load_host
from uq4ct.service.replay.replaying import Replay
from uq4ct.service.replay.running import read_answered, summary
from uq4ct.service.replay.week import DAY, Week, plan_week
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds


@asynccontextmanager
async def simulated_service(
    load: Callable[[], Host],
    adapters: Registry,
    settings: Settings,
    simulated: FakeTime,
    registry: CollectorRegistry,
) -> AsyncIterator[AsyncClient]:
    """A client of a ready service that runs in simulated time; the app is in this process."""
    ids = TimeOrderedIds(simulated.clocks.wall, random.Random(0).getrandbits)
    app: FastAPI = create_app(load, adapters, settings, registry, ids, clocks=simulated.clocks)
    async with (
        app.router.lifespan_context(app),
        AsyncClient("http://localhost", transport=httpx2.ASGITransport(app), timeout=300) as client,
    ):
        await app.state.context.ledger.wait_until_opened()
        await app.state.context.engine.wait_until_loaded()
        yield client


async def simulate(store: Path, usual: Path, shifted: Path, ledger: Path, asked: int) -> str:
    """Fill a ledger with the past week; returns one line about the result."""
    adapters = Registry(store)
    week = Week(questions=asked)
    simulated = FakeTime(time.time() - (week.days + 0.9) * DAY)
    settings = Settings(model_store_dir=store, database_url=f"sqlite:///{ledger}")
    reference = choose_reference(settings, adapters)
    plan = plan_week(week, read_answered(usual), read_answered(shifted))
    async with simulated_service(
        lambda: load_host(settings, adapters, reference), adapters, settings, simulated, CollectorRegistry()
    ) as client:
        return summary(await Replay(client, None, simulated.wait_until).run(plan))


if __name__ == "__main__":
    _store, _usual, _shifted, _ledger = map(Path, sys.argv[1:5])
    print(asyncio.run(simulate(_store, _usual, _shifted, _ledger, int(sys.argv[5]) if len(sys.argv) > 5 else 3000)))
