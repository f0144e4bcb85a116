"""`python -m tests.benchmarks.telemetry`: questions per second with the metrics enabled and with them silenced.

The same service answers in both kinds of round, through ASGI in this process, so that only the counting differs.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import httpx2
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from rich.console import Console

from tests.benchmarks.rounds import compare
from tests.benchmarks.small_adapter import publish_small
from tests.service.fake_predictor import FakeHost
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.engine.predictor import Host
from uq4ct.service.loading import load_host
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds
from uq4ct.training.data import facts

IN_FLIGHT = 32
console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Print both ratios."""
    questions = list(facts.build().test)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        publish_small(Path(folder), store)
        settings = Settings(
            default_model="bench", database_url=f"sqlite:///{folder}/ledger.sqlite3", model_store_dir=store
        )
        adapters = Registry(store)
        with asyncio.Runner() as runner:
            embedded = partial(load_host, settings, adapters, "bench")
            for name, load, count in (
                ("embedded base model", embedded, 48),
                ("no model at all", FakeHost().load, 1000),
            ):
                ratio = _ratio(runner, load, adapters, settings, (questions * 4)[:count])
                console.print(f"counting / silent, {name}: {ratio} questions a second (aim: 0.98)")


def _ratio(
    runner: asyncio.Runner, load: Callable[[], Host], adapters: Registry, settings: Settings, questions: list[Question]
) -> str:
    app = create_app(load, adapters, settings, CollectorRegistry(), TimeOrderedIds(time.time, secrets.randbits))
    lifespan = app.router.lifespan_context(app)
    runner.run(lifespan.__aenter__())
    try:
        runner.run(app.state.context.engine.wait_until_loaded())

        def counting() -> None:
            runner.run(_ask_all(app, questions))

        def silent() -> None:
            with _silenced():
                runner.run(_ask_all(app, questions))

        return str(compare(counting, silent, rounds=5))
    finally:
        runner.run(lifespan.__aexit__(None, None, None))


async def _ask_all(app: FastAPI, questions: Sequence[Question]) -> None:
    waiting = list(questions)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost", timeout=300
    ) as client:

        async def ask() -> None:
            while waiting:
                question = waiting.pop()
                body = {"question": question.text, "options": question.options}
                (await client.post("/predict", json=body)).raise_for_status()

        await asyncio.gather(*(ask() for _ in range(IN_FLIGHT)))


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence all metrics: none changes, and labels do not separate them."""
    with ExitStack() as stack:
        for kind, names in {
            Counter: ("inc", "labels"),
            Gauge: ("set", "inc", "dec", "labels"),
            Histogram: ("observe", "labels"),
            Summary: ("observe", "labels"),
        }.items():
            for name in names:
                stack.enter_context(patch.object(kind, name, _itself))
        yield


def _itself(metric: object, *_: object, **__: object) -> object:
    return metric


if __name__ == "__main__":
    main()
