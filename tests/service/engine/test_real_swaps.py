"""Swaps with a real model: two stored adapters on a tiny base, under load."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.service.engine.engines import LIMITS, make_engine
from uq4ct.model_store.published import AdapterHost, load_base_of, load_predictor
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.engine.engine import Engine
from uq4ct.service.engine.predictor import Ask, Served

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
CLOSE = 1e-5  # other questions in the batch change the last bits of a float32


def alone(registry: Registry, reference: str, questions: list[Question]) -> list[tuple[float, ...]]:
    """Return the probabilities of the only adapter on a base model, with one question per batch."""
    predictor = load_predictor(reference, registry.root, device="cpu", dtype="float32")
    return [predictor.answer([predictor.encode(question)])[0].probabilities for question in questions]


def parameters_alive() -> int:
    """Return the number of parameters that are still referenced."""
    gc.collect()
    return sum(issubclass(type(item), torch.nn.Parameter) for item in gc.get_objects())


async def test_fifty_swaps_of_a_real_model_under_load(
    publish_tiny: Callable[..., Any], questions: list[Question]
) -> None:
    published = [publish_tiny(seed=seed) for seed in (1, 2)]
    registry, manifest = published[0].registry, published[0].manifest
    expected = {one.manifest.version: alone(registry, one.reference, questions) for one in published}
    differences = [abs(a[0] - b[0]) for a, b in zip(*expected.values(), strict=True)]
    assert min(differences) > 100 * CLOSE
    base = load_base_of(manifest, device="cpu", dtype="float32")
    largest = max(registry.load(one.reference).memory_bytes for one in published)
    limits = LIMITS | {"batch_tokens": 2048, "adapter_bytes": 2 * largest}
    engine = make_engine(lambda: AdapterHost(base), registry, "tiny", **limits)
    engine.start()
    try:
        await engine.wait_until_loaded()
        names, alive = [name for name, _ in base.model.named_parameters()], parameters_alive()
        assert await swap_under_load(engine, questions, expected) == {1, 2}
        assert [name for name, _ in base.model.named_parameters()] == names
        assert parameters_alive() <= alive
    finally:
        await engine.close()


async def swap_under_load(
    engine: Engine, questions: list[Question], expected: dict[int, list[tuple[float, ...]]]
) -> set[int]:
    """Swap 50 times, each a load and an unload, while 8 clients compare; return the versions that answered."""
    running = True
    versions: list[int] = []

    async def client() -> None:
        for index in itertools.cycle(range(len(questions))):
            if not running:
                return
            (outcome,) = await engine.submit([Ask(questions[index])])
            assert isinstance(outcome, Served), outcome
            assert outcome.answer.probabilities == pytest.approx(expected[outcome.manifest.version][index], abs=CLOSE)
            versions.append(outcome.manifest.version)

    async with asyncio.TaskGroup() as clients:
        for _ in range(8):
            clients.create_task(client())
        for swap in range(50):
            await engine.swaps.promote("tiny", 2 - swap % 2, "production")
            await engine.swaps.unload(f"tiny@{1 + swap % 2}")
            before = len(versions)
            while len(versions) < before + 2:
                await asyncio.sleep(0.001)
        running = False
    return set(versions)
