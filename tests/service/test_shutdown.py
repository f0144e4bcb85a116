"""SIGTERM and a real server process under load: every admitted question is answered and the exit code is 0."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from model_store.questions import Question
from model_store.storage.registry import Registry
from service.app import create_app
from service.engine.failures import WorkerDiedError
from service.serving import serve
from service.settings import Settings
from service.telemetry.request_ids import TimeOrderedIds
from tests.service.fake_predictor import FakeHost, FakePredictor, answer_to

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
CLIENTS = 12


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def fake_server(store_dir: Path, log: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DATABASE_URL": f"sqlite:///{log}.sqlite3"}
    command = [sys.executable, "-m", "tests.service.fake_server", str(store_dir), str(port), "0.05"]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, cwd=ROOT, stderr=stderr, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


async def until_ready(client: httpx.AsyncClient) -> None:
    for _ in range(2400):
        try:
            if (await client.get("/health/ready")).status_code == 200:
                return
        except httpx.ConnectError:
            pass
        await asyncio.sleep(0.05)
    raise TimeoutError("the server never became ready")


async def ask_until_refused(client: httpx.AsyncClient, name: int, answered: list[int], codes: set[int]) -> None:
    """Ask one question after the other; a connection that is refused was never admitted."""
    for number in range(10_000):
        question = Question("", f"client {name} number {number}", ("yes", "no"))
        try:
            response = await client.post("/predict", json={"question": question.text, "options": question.options})
        except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
            return
        codes.add(response.status_code)
        if response.status_code != 200:
            return
        assert response.json()["confidence"] == answer_to(question).confidence
        answered.append(number)


async def readiness(client: httpx.AsyncClient) -> int:
    try:
        return (await client.get("/health/ready")).status_code
    except httpx.ConnectError:
        return 0


async def test_sigterm_under_load_loses_no_answer(store_dir: Path, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    answered: list[int] = []
    codes: set[int] = set()
    with fake_server(store_dir, log, port) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            await until_ready(client)
            clients = [asyncio.create_task(ask_until_refused(client, n, answered, codes)) for n in range(CLIENTS)]
            await asyncio.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)
            assert await readiness(client) == 503
            before = len(answered)
            await asyncio.gather(*clients)
        assert await asyncio.to_thread(process.wait, 10) == 0
    assert codes <= {200, 503}
    assert len(answered) > before > CLIENTS  # the grace goes on answering
    logged = log.read_text()
    assert "Traceback" not in logged
    assert logged.count('"code": 200') == len(answered)
    assert "never" not in logged


async def test_the_server_ends_with_the_error_of_loading(adapters: Registry, tmp_path: Path) -> None:
    def load() -> FakeHost:
        raise OSError("no such weights")

    settings = Settings(port=free_port(), default_model="toy", database_url=f"sqlite:///{tmp_path}/ledger.sqlite3")
    app = create_app(load, adapters, settings, CollectorRegistry(), TimeOrderedIds(time.time, secrets.randbits))
    with pytest.raises(OSError, match="no such weights"):
        await asyncio.wait_for(serve(app, settings), 10)


async def test_the_server_ends_when_nothing_can_answer_any_more(adapters: Registry, predictor: FakePredictor) -> None:
    port = free_port()
    app = create_app(
        FakeHost(predictor).load,
        adapters,
        Settings(port=port, default_model="toy"),
        CollectorRegistry(),
        TimeOrderedIds(time.time, secrets.randbits),
    )
    serving = asyncio.create_task(serve(app, Settings(port=port, default_model="toy")))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        await until_ready(client)
        predictor.most_questions, predictor.no_memory = 0, SystemExit()
        for _ in range(3):
            await client.post("/predict", json={"question": "Which one?", "options": ["this", "that"]})
    with pytest.raises(WorkerDiedError):
        await asyncio.wait_for(serving, 10)
