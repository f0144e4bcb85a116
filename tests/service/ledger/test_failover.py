"""A PostgreSQL failover under load: the old primary stays up read-only, the service finds the new one by itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select

from tests.ports import free_port
from tests.service.ledger.cluster import MovingAddress, Server, fail_over, primary_and_standby
from tests.service.readiness import until_ready
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import labels, predictions

# The fixture `postgres` makes the programs usable for another user, if the tests run as root.
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.usefixtures("postgres")]
ROOT = Path(__file__).parents[3]
CLIENTS = 6
PHASE_SECONDS = 3.0


@dataclass
class Told:
    """What clients were told, by phase."""

    phase: str = "before"
    codes: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    labelled: dict[str, int] = field(default_factory=dict)

    def hear(self, route: str, code: int) -> int:
        """Count a response in the current phase; return its status."""
        self.codes[self.phase, route, code] += 1
        return code


@contextmanager
def service(store: Path, port: int, url: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the real server process around the fake predictor."""
    command = [sys.executable, "-m", "tests.service.fake_server", str(store), str(port), "0.002", url]
    with log.open("wb") as stderr, subprocess.Popen(command, cwd=ROOT, stderr=stderr, env={**os.environ}) as process:
        try:
            yield process
        finally:
            process.kill()


async def ask_and_label(client: httpx2.AsyncClient, told: Told, draw: random.Random, stop: asyncio.Event) -> None:
    """Ask and label until told to stop; labels that got 503 are sent again until all are stored."""
    unlabelled: deque[tuple[str, int]] = deque()
    while unlabelled or not stop.is_set():
        if not stop.is_set():
            response = await client.post("/predict", json={"question": str(draw.random()), "options": ["yes", "no"]})
            if told.hear("/predict", response.status_code) == 200:
                prediction_id = response.json()["prediction_id"]
                told.answered.add(prediction_id)
                unlabelled.append((prediction_id, draw.randrange(2)))
        if unlabelled and await label(client, told, *unlabelled[0]):
            unlabelled.popleft()
        else:
            await asyncio.sleep(0.05)


async def label(client: httpx2.AsyncClient, told: Told, prediction_id: str, answer: int) -> bool:
    """Send a label; return whether it is stored."""
    response = await client.post("/feedback", json={"prediction_id": prediction_id, "answer": answer})
    stored = told.hear("/feedback", response.status_code) == 200
    if stored:
        told.labelled[prediction_id] = answer
    return stored


@asynccontextmanager
async def load(client: httpx2.AsyncClient, told: Told) -> AsyncIterator[None]:
    """Run clients during the block, then wait until each has stored its last label."""
    stop = asyncio.Event()
    clients = [asyncio.create_task(ask_and_label(client, told, random.Random(n), stop)) for n in range(CLIENTS)]
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(asyncio.gather(*clients), 60)


@pytest.mark.parametrize("reach", ["moving address", "every server in the URL"])
async def test_nothing_acknowledged_is_lost_in_a_failover(reach: str, store_dir: Path, tmp_path: Path) -> None:
    told, log, port = Told(), tmp_path / "log", free_port()
    with primary_and_standby() as (primary, standby):
        address = MovingAddress(primary)
        async with address.serve():
            url = _url(reach, address, primary, standby)
            with service(store_dir, port, url, log) as process:
                async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                    await until_ready(client)
                    async with load(client, told):
                        await asyncio.sleep(PHASE_SECONDS)
                        told.phase = "during"
                        await asyncio.to_thread(primary.configure, "default_transaction_read_only = on")
                        await asyncio.sleep(PHASE_SECONDS)
                        assert (await client.get("/health/ready")).status_code == 503
                        await asyncio.to_thread(fail_over, primary, standby)
                        address.target = standby
                        async with asyncio.timeout(30):
                            await until_ready(client)
                        told.phase = "after"
                        await asyncio.sleep(PHASE_SECONDS)
                    assert process.poll() is None, "the service was restarted"
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 60) == 0
        assert primary.ask("SELECT 1") == 1, "the old primary went down: its connections would break by themselves"
        _check(standby, told)
    print({" ".join(map(str, key)): count for key, count in sorted(told.codes.items())})  # for pytest -s
    reasons = log.read_text()
    assert "read-only" in reasons
    assert "Traceback" not in reasons


def _url(reach: str, address: MovingAddress, primary: Server, standby: Server) -> str:
    if reach == "moving address":
        return f"postgresql+psycopg://postgres@127.0.0.1:{address.port}/postgres"
    hosts = f"host={primary.address}&host={standby.address}"
    return f"postgresql+psycopg://postgres@/postgres?{hosts}&target_session_attrs=read-write"


def _check(primary: Server, told: Told) -> None:
    """Compare the ledger of the new primary with what clients were told."""
    database = Database(primary.url)
    with database.transaction() as connection:
        stored = {row.prediction_id: row.answer for row in connection.execute(select(labels))}
        known = set(connection.scalars(select(predictions.c.prediction_id)))
    database.close()
    assert told.labelled.items() <= stored.items(), "an acknowledged label is lost"
    assert told.answered <= known, "an answer is lost"
    for phase in ("before", "after"):
        for route in ("/predict", "/feedback"):
            assert told.codes[phase, route, 200] > CLIENTS, f"{route} did not work {phase}"
    assert told.codes["during", "/predict", 503] > CLIENTS
    assert told.codes["during", "/feedback", 503] > CLIENTS
    assert {code for _, _, code in told.codes} == {200, 503}
