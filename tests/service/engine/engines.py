"""Engines around fake predictors, and helpers for their tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from tests.service.fake_predictor import TOKEN_LIMIT, FakeHost, FakePredictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.engine import Engine
from uq4ct.service.engine.limits import Limits
from uq4ct.service.engine.predictor import Ask, Host, Served
from uq4ct.service.telemetry.metrics import Metrics

Run = Callable[..., AbstractAsyncContextManager[Engine]]
LIMITS = {"questions": 100, "tokens": 10_000, "batch_tokens": TOKEN_LIMIT, "adapter_bytes": 1000, "seconds": 20.0}


def question(index: int, words: int = 3, reference: str | None = None) -> Ask:
    """Return a question with `words` of the fake's tokens."""
    return Ask(Question("", " ".join([f"q{index}"] * (words - 2)), ("a", "b")), reference)


def make_engine(load: Callable[[], Host], adapters: Registry, default: str = "toy", **limits: Any) -> Engine:
    """Return an engine that has not been started."""
    return Engine(load, default, adapters, Limits(**{**LIMITS, **limits}), Metrics(CollectorRegistry()))


@asynccontextmanager
async def running(
    host: FakeHost,
    adapters: Registry,
    *,
    default: str = "toy",
    poll: float = 0.0,
    probe: float = 5.0,
    patience: float = 60.0,
    **limits: Any,
) -> AsyncIterator[Engine]:
    """Run a ready engine; at the end, forwards and loads are no longer blocked."""
    engine = make_engine(host.load, adapters, default, **limits)
    engine.start(poll, probe, patience)
    try:
        await engine.wait_until_loaded()
        yield engine
    finally:
        for predictor in [*host.given.values(), *host.present.values()]:
            predictor.forward_may_start.set()
        host.preparing_may_end.set()
        host.adding_may_end.set()
        await engine.close()


def started(engine: Engine, *asks: Ask) -> asyncio.Task[list[Served | Exception]]:
    """Start a request."""
    return asyncio.create_task(engine.submit(asks))


async def hold_forward(engine: Engine, predictor: FakePredictor) -> asyncio.Task[list[Served | Exception]]:
    """Occupy the worker with one question to the default until `forward_may_start` is set."""
    predictor.forward_may_start.clear()
    first = started(engine, question(0))
    await until(lambda: any("q0" in texts for texts in predictor.served_texts()))
    return first


async def until(condition: Callable[[], object]) -> None:
    """Let the engine run until the condition is true."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise TimeoutError("never became true")


def sample(engine: Engine, name: str, **labels: str) -> float | None:
    """Return the value of a metric."""
    return engine.metrics.registry.get_sample_value(f"uq4ct_{name}", labels)
