"""SIGTERM and a real server process under load: every admitted question is answered and the exit code is 0."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from tests.ports import free_port
from tests.service.engine.engines import until
from tests.service.fake_predictor import FakeHost, FakePredictor, answer_to
from tests.service.readiness import until_ready
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.engine.engine import Engine, State
from uq4ct.service.engine.failures import WorkerDiedError
from uq4ct.service.server import serve
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
QUESTION = {"question": "Which one?", "options": ["this", "that"]}
CLIENTS = 12


@dataclass
class Served:
    """A server in this process, with a client and its engine."""

    client: httpx2.AsyncClient
    engine: Engine
    serving: asyncio.Task[None]

    async def terminate(self) -> None:
        """Send SIGTERM, and return when new questions are rejected."""
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: self.engine.state is State.DRAINING)


@contextmanager
def fake_server(store_dir: Path, log: Path, port: int, loading: float = 0.0) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "tests.service.fake_server",
        str(store_dir),
        str(port),
        "0.05",
        f"sqlite:///{log}.sqlite3",
        str(loading),
    ]
    with (
        log.open("wb") as stderr,
        subprocess.Popen(command, cwd=ROOT, stderr=stderr, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


async def ask_until_refused(client: httpx2.AsyncClient, name: int, answered: list[int], codes: set[int]) -> None:
    """Ask one question after the other until the connection is refused; such a question was not admitted."""
    for number in range(10_000):
        question = Question("", f"client {name} number {number}", ("yes", "no"))
        try:
            response = await client.post("/predict", json={"question": question.text, "options": question.options})
        except (httpx2.ConnectError, httpx2.RemoteProtocolError, httpx2.ReadError):
            return
        codes.add(response.status_code)
        if response.status_code != 200:
            return
        assert response.json()["confidence"] == answer_to(question).confidence
        answered.append(number)


async def readiness(client: httpx2.AsyncClient) -> int:
    try:
        return (await client.get("/health/ready")).status_code
    except httpx2.ConnectError:
        return 0


@pytest.mark.slow
async def test_sigterm_under_load_loses_no_answer(store_dir: Path, tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "log"
    answered: list[int] = []
    codes: set[int] = set()
    with fake_server(store_dir, log, port) as process:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
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
    assert len(answered) > before > CLIENTS  # questions are answered during the grace period
    logged = log.read_text()
    assert "Traceback" not in logged
    assert logged.count('"code": 200') == len(answered)
    assert "never" not in logged


@pytest.mark.slow
async def test_a_closed_terminal_ends_the_server_as_sigterm_does_and_other_signals_do_not(
    store_dir: Path, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    with fake_server(store_dir, log, port) as process:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            await until_ready(client)
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGUSR2)
            await asyncio.sleep(0.2)
            last = (await client.post("/predict", json=QUESTION)).json()
            process.send_signal(signal.SIGHUP)
            assert await asyncio.to_thread(process.wait, 10) == 0
    with contextlib.closing(sqlite3.connect(f"{log}.sqlite3")) as ledger:
        assert [uuid.UUID(bytes=stored) for (stored,) in ledger.execute("SELECT prediction_id FROM predictions")] == [
            uuid.UUID(last["prediction_id"])
        ]


@pytest.mark.slow
async def test_control_c_ends_a_server_that_still_loads_at_once(store_dir: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with fake_server(store_dir, log, port, loading=60.0) as process:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            while await readiness(client) != 503:
                await asyncio.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 2) == 130
    *_, last = log.read_text().splitlines()
    assert last == ("stopped: the model was still loading, so no question was admitted: run the same command again")


@asynccontextmanager
async def served(adapters: Registry, host: FakeHost, folder: Path, **settings: Any) -> AsyncIterator[Served]:
    """Run a ready server in this process; end it with SIGTERM."""
    port = free_port()
    chosen = Settings(
        port=port,
        default_model="toy",
        shutdown_grace_seconds=0.0,
        database_url=f"sqlite:///{folder}/ledger.sqlite3",
        **settings,
    )
    ids = TimeOrderedIds(time.time, secrets.randbits)
    app = create_app(host.load, adapters, chosen, CollectorRegistry(), ids)
    serving = asyncio.create_task(serve(app, chosen))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        await until_ready(client)
        try:
            yield Served(client, app.state.context.engine, serving)
        finally:
            host.adding_may_end.set()
            if not serving.done():
                await asyncio.wait_for(serving, 20)


async def test_a_load_that_was_admitted_is_answered_before_the_end(
    adapters: Registry, host: FakeHost, tmp_path: Path
) -> None:
    async with served(adapters, host, tmp_path) as server:
        host.adding_may_end.clear()
        load = asyncio.create_task(server.client.post("/models/toy@2/load"))
        ask = asyncio.create_task(server.client.post("/predict", json={**QUESTION, "model": "other"}))
        await until(lambda: len(host.added) == 2)
        await server.terminate()
        late = await server.client.post("/models/other/load")
        assert not load.done()
        host.adding_may_end.set()
        loaded, answer = await asyncio.gather(load, ask)
        await asyncio.wait_for(server.serving, 10)
    assert (loaded.status_code, loaded.json()["loaded"]) == (200, True)
    assert (answer.status_code, answer.json()["model"]) == (200, "other@1")
    assert (late.status_code, late.json()["type"]) == (503, "urn:uq4ct:problem:draining")


async def test_a_load_that_takes_longer_than_a_question_may_is_told_so_before_the_end(
    adapters: Registry, host: FakeHost, tmp_path: Path
) -> None:
    async with served(adapters, host, tmp_path, request_timeout_seconds=0.5) as server:
        host.adding_may_end.clear()
        load = asyncio.create_task(server.client.post("/models/toy@2/load"))
        ask = asyncio.create_task(server.client.post("/predict", json={**QUESTION, "model": "toy@2"}))
        await until(lambda: len(host.added) == 2)
        await server.terminate()
        given_up, late = await asyncio.gather(load, ask)
        host.adding_may_end.set()
        await asyncio.wait_for(server.serving, 10)
    assert (given_up.status_code, given_up.json()["type"]) == (503, "urn:uq4ct:problem:draining")
    assert given_up.headers["content-type"] == "application/problem+json"
    assert given_up.headers["retry-after"] == "1"
    assert (late.status_code, late.json()["type"]) == (504, "urn:uq4ct:problem:deadline-passed")


async def test_the_server_ends_with_the_error_of_loading_and_logs_it_nowhere_else(
    adapters: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> FakeHost:
        raise OSError("no such weights")

    settings = Settings(port=free_port(), default_model="toy", database_url=f"sqlite:///{tmp_path}/ledger.sqlite3")
    app = create_app(load, adapters, settings, CollectorRegistry(), TimeOrderedIds(time.time, secrets.randbits))
    with pytest.raises(OSError, match="no such weights"):
        await asyncio.wait_for(serve(app, settings), 10)
    assert "no such weights" not in str([vars(record) for record in caplog.records])


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_line(store_dir: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {
            "PORT": port,
            "MODEL_STORE_DIR": store_dir,
            "DEFAULT_MODEL": "toy",
            "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.sqlite3",
        }
        environment = os.environ | {f"UQ4CT_{name}": str(value) for name, value in settings.items()}
        command = [sys.executable, "-m", "uq4ct", "serve"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: UQ4CT_HOST, UQ4CT_PORT: cannot listen on 127.0.0.1:{port}: Address already in use: "
        "stop the program that listens there, or choose another port with UQ4CT_PORT or --port\n"
    )
    assert not (tmp_path / "ledger.sqlite3").exists()  # the port is bound before the ledger is made


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_port_is_free_again_when_the_server_has_ended(adapters: Registry, tmp_path: Path, host: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite3"
    settings = Settings(host=host, port=free_port(), default_model="toy", database_url=url)

    def load() -> FakeHost:
        raise OSError("no such weights")

    for _ in range(2):
        app = create_app(load, adapters, settings, CollectorRegistry(), TimeOrderedIds(time.time, secrets.randbits))
        with pytest.raises(OSError, match="no such weights"):
            await asyncio.wait_for(serve(app, settings), 10)


async def test_the_server_ends_when_nothing_can_answer_any_more(
    adapters: Registry, predictor: FakePredictor, tmp_path: Path
) -> None:
    port = free_port()
    settings = Settings(port=port, default_model="toy", database_url=f"sqlite:///{tmp_path}/ledger.sqlite3")
    app = create_app(
        FakeHost(predictor).load,
        adapters,
        settings,
        CollectorRegistry(),
        TimeOrderedIds(time.time, secrets.randbits),
    )
    serving = asyncio.create_task(serve(app, settings))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        await until_ready(client)
        predictor.most_questions, predictor.no_memory = 0, SystemExit()
        for _ in range(3):
            await client.post("/predict", json={"question": "Which one?", "options": ["this", "that"]})
    with pytest.raises(WorkerDiedError):
        await asyncio.wait_for(serving, 10)
