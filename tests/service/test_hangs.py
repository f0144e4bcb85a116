"""A model store and a model that hang: requests get 503, and neither the event loop nor the end waits for them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.ports import free_port
from tests.service.conftest import Start
from tests.service.engine.engines import Run, hold_forward, until
from tests.service.fake_predictor import FakePredictor
from tests.service.readiness import until_ready
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine import swaps, worker

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


class HangingStore(Registry):
    """A store whose reads hang while `may_end` is cleared, like those of a file system that does not answer."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.may_end = threading.Event()
        self.may_end.set()

    def resolve(self, reference: str) -> tuple[str, int]:
        assert self.may_end.wait(60)
        return super().resolve(reference)

    def references(self) -> Any:
        assert self.may_end.wait(60)
        return super().references()

    def survey(self, *arguments: Any, **named: Any) -> Any:
        assert self.may_end.wait(60)
        return super().survey(*arguments, **named)


@pytest.fixture
def store(store_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HangingStore]:
    monkeypatch.setattr(swaps, "LONGEST_READ", 0.2)
    monkeypatch.setattr(swaps, "LONGEST_WEIGHTS_READ", 0.2)
    hanging = HangingStore(store_dir)
    yield hanging
    hanging.may_end.set()


async def test_a_store_that_hangs_is_a_503_in_time(start: Start, store: HangingStore) -> None:
    async with start(adapters=store, alias_poll_seconds=0.01) as replica:
        await replica.ask()
        await replica.context.ledger.flush()
        store.may_end.clear()
        started = time.monotonic()
        responses = await asyncio.gather(
            replica.client.get("/models"),
            replica.client.get("/models/toy"),
            replica.client.get("/calibration"),
            replica.client.get("/v2/models/toy"),
            replica.post("/models/other/load"),
            replica.ask(model="other"),
            *(replica.client.get("/models") for _ in range(20)),
        )
        assert time.monotonic() - started < 5
        problems = [response.json() for response in responses]
        assert {one["type"] for one in problems if "type" in one} == {"urn:uq4ct:problem:store-unavailable"}
        assert [one["error"] for one in problems if "error" in one] == ["the model store gave no answer in 0.2 seconds"]
        assert {(response.status_code, response.headers["retry-after"]) for response in responses} == {(503, "1")}
        assert (await replica.ask()).status_code == 200, "a loaded model needs no store"
        store.may_end.set()
        assert (await replica.client.get("/models")).status_code == 200
        assert (await replica.ask(model="other")).status_code == 200


async def test_the_end_does_not_wait_for_a_store_that_hangs(start: Start, store: HangingStore) -> None:
    async with start(adapters=store) as replica:
        store.may_end.clear()
        assert (await replica.client.get("/models")).status_code == 503
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 5


async def test_the_end_does_not_wait_for_a_model_that_hangs(
    run: Run, predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its question gets no answer in time; then the thread is left behind."""
    monkeypatch.setattr(worker, "LONGEST_END", 0.2)
    async with run(seconds=0.2) as engine:
        question = await hold_forward(engine, predictor)
        await question
        leaving = time.monotonic()
        await engine.close()
        assert time.monotonic() - leaving < 5
    assert [record.message for record in caplog.records if "hangs" in record.message][:1] == [
        "the model's thread hangs and is left behind"
    ]
    await until(lambda: not any(thread.name == "model-worker" for thread in threading.enumerate()))


_HANGING_SERVER = """
import sys, threading
from tests.service import fake_server
from uq4ct.service import ending
ending.SECONDS = 0.5
threading.Thread(target=threading.Event().wait, name="from a library").start()
fake_server.run(sys.argv[1], int(sys.argv[2]), 0.001, database_url=sys.argv[3])
"""


@pytest.mark.slow
async def test_sigterm_ends_a_process_with_a_thread_that_never_ends(store_dir: Path, tmp_path: Path) -> None:
    port, url, log = free_port(), f"sqlite:///{tmp_path}/ledger.sqlite3", tmp_path / "log"
    command = [sys.executable, "-c", _HANGING_SERVER, str(store_dir), str(port), url]
    with log.open("wb") as stderr, subprocess.Popen(command, cwd=ROOT, stderr=stderr, env={**os.environ}) as process:
        try:
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                await until_ready(client)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 30) == 0
        finally:
            process.kill()
    assert 'process ended although threads hang", "threads": ["from a library"]' in log.read_text()
