"""kill -9 under a load of predictions and labels: acknowledged labels are stored, rejected ones are not."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import select

from tests.ports import free_port
from tests.service.fake_server import run_logged
from tests.service.ledger.conftest import id_of_age
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.tables import labels, predictions

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
KILLS = 20
CLIENTS = 8


@dataclass
class Told:
    """The responses that clients received, over all kills."""

    codes: Counter[tuple[str, int]] = field(default_factory=Counter)
    acknowledged: dict[str, int] = field(default_factory=dict)
    sent: dict[str, set[int]] = field(default_factory=dict)
    refused: set[tuple[str, int]] = field(default_factory=set)

    def hear(self, prediction_id: str, answer: int, code: int) -> None:
        """Record the response to a label."""
        self.codes["/feedback", code] += 1
        if code == 200:
            known = self.acknowledged.setdefault(prediction_id, answer)
            assert known == answer, "two different labels of one prediction were acknowledged"
        elif code in (404, 409):
            self.refused.add((prediction_id, answer))
        else:
            assert code == 503


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """A fork server with all imports done, so that servers start fast."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.service.fake_server"])
    return context


@contextmanager
def server(processes: ForkServerContext, log: Path, *arguments: Any, url: str) -> Iterator[BaseProcess]:
    """Run a real server process around the fake predictor with this ledger; kill it at the end."""
    settings = {"database_url": url, "ledger_flush_seconds": 0.2}
    process = processes.Process(target=run_logged, args=(str(log), *arguments), kwargs=settings)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


async def until_ready(client: httpx2.AsyncClient, process: BaseProcess) -> None:
    """Wait for the server; its start may take long on a busy machine."""
    while process.is_alive():
        with contextlib.suppress(httpx2.TransportError):
            if (await client.get("/health/ready")).status_code == 200:
                return
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the server ended with exit code {process.exitcode}")


async def label(client: httpx2.AsyncClient, told: Told, prediction_id: str, answer: int) -> None:
    """Send a label and record the response."""
    told.sent.setdefault(prediction_id, set()).add(answer)
    body = {"prediction_id": prediction_id, "answer": answer}
    told.hear(prediction_id, answer, (await client.post("/feedback", json=body)).status_code)


async def ask_and_label(client: httpx2.AsyncClient, told: Told, draw: random.Random) -> None:
    """Ask, label, repeat and contradict labels, and label unknown ids, until the server is killed."""
    try:
        while True:
            response = await client.post("/predict", json={"question": str(draw.random()), "options": ["yes", "no"]})
            told.codes["/predict", response.status_code] += 1
            prediction_id, answer = response.json()["prediction_id"], draw.randrange(2)
            await label(client, told, prediction_id, answer)
            if draw.random() < 0.3:
                await label(client, told, prediction_id, answer)
            if draw.random() < 0.3:
                await label(client, told, prediction_id, 1 - answer)
            if draw.random() < 0.1:
                await label(client, told, id_of_age(days=1), 0)
    except httpx2.TransportError:
        return


def check(database: Database, told: Told) -> int:
    """Check the ledger against the responses; return its number of labels."""
    with database.transaction() as connection:
        rows = connection.execute(select(labels.c.prediction_id, labels.c.answer)).all()
        known = set(connection.scalars(select(predictions.c.prediction_id)))
        if database.is_sqlite:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    stored = {row.prediction_id: row.answer for row in rows}
    assert len(stored) == len(rows)
    assert told.acknowledged.items() <= stored.items(), "an acknowledged label is lost"
    assert told.refused.isdisjoint(stored.items()), "a refused label is stored"
    assert all(answer in told.sent.get(prediction_id, ()) for prediction_id, answer in stored.items())
    assert stored.keys() <= known
    return len(stored)


async def test_no_acknowledged_label_is_lost(
    store_dir: Path, url: str, database: Database, tmp_path: Path, processes: ForkServerContext
) -> None:
    told, draw, log = Told(), random.Random(9), tmp_path / "log"
    stored = 0
    for kill in range(KILLS):
        port = free_port()
        with server(processes, log, str(store_dir), port, 0.002, url=url) as process:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
                await until_ready(client, process)
                for prediction_id, answer in list(told.acknowledged.items())[-3:]:
                    view = (await client.get(f"/predictions/{prediction_id}")).json()
                    assert view["label"]["option"]["index"] == answer
                clients = [
                    asyncio.create_task(ask_and_label(client, told, random.Random(kill * CLIENTS + number)))
                    for number in range(CLIENTS)
                ]
                await asyncio.sleep(draw.uniform(0.3, 1.5))
                process.kill()
                await asyncio.gather(*clients)
        stored = check(database, told)
    assert told.codes["/feedback", 200] > KILLS * CLIENTS
    assert told.codes["/feedback", 409] > KILLS
    assert "Traceback" not in log.read_text()
    figures = {f"{route} {code}": count for (route, code), count in sorted(told.codes.items())}
    print(figures | {"kills": KILLS, "acknowledged": len(told.acknowledged), "stored": stored})  # for pytest -s
