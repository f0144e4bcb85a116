"""Rows 6 and 7: loading and asking many adapters of the embedded base model."""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import httpx2
import torch

from tests.benchmarks.growth.curves import Curve
from tests.benchmarks.http_load import Plan, Reply, load_generator
from tests.benchmarks.served import RunningService, running_service
from tests.manifests import make_draft
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.identity import EMBEDDED
from uq4ct.model_store.base.models import load_base_model
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data import facts

ADAPTERS = 33  # the default and 32 more
SHAPE = AdapterConfig(experts=8, top_k=2, rank=4, alpha=8)
SHOWN_LOADS = (1, 9, 17, 32)
ASKED_ADAPTERS = (1, 4, 16, 32)
CONNECTIONS = 16
REQUESTS = 200
ASKED = 15  # questions to the default around a load

Send = Callable[[Plan], Sequence[Reply]]


def measure(folder: Path) -> list[Curve]:
    """Return the seconds of the k-th load and of the default's answers meanwhile, and answers a second."""
    store = folder / "store"
    counted = publish_versions(store).load("bench@1").memory_bytes
    room = str(round(2 * counted * ADAPTERS / 1e6))
    with (
        load_generator() as send,
        running_service(store, DEFAULT_MODEL="bench@1", ADAPTER_MEMORY_MB=room) as service,
    ):
        curves = measure_loads(service, send, counted)
        rates = [(number, throughput(service, send, number)) for number in ASKED_ADAPTERS]
    alone = rates[0][1]
    shares = [(number, rate / alone) for number, rate in rates]
    return [*curves, Curve("7", "answers/s, of those with one adapter", "adapters", shares, least=0.8)]


def publish_versions(store: Path) -> Registry:
    """Publish adapters with random weights as versions 1 to `ADAPTERS` of `bench`."""
    registry = Registry(store)
    base = load_base_model(EMBEDDED)
    model = add_adapter(base, SHAPE, ClozeConfig())
    draft = make_draft("bench", base=base.identity, adapter=SHAPE, scoring=ClozeConfig())
    generator = torch.Generator().manual_seed(0)
    for _ in range(ADAPTERS):
        tensors = {
            name: weight.detach() if weight.dim() < 2 else 0.02 * torch.randn(weight.shape, generator=generator)
            for name, weight in model.adapter_tensors().items()
        }
        registry.publish(draft, tensors, {}, promote=False)
    return registry


def measure_loads(service: RunningService, send: Send, counted: int) -> list[Curve]:
    """Load every version; return the costs of some loads, while one client asks the default."""
    before = service.resident_megabytes
    points: dict[str, list[tuple[float, float]]] = {}
    with ThreadPoolExecutor(1) as pool:
        for number in range(1, ADAPTERS):
            shown = number in SHOWN_LOADS
            asking = pool.submit(send, plan(service, [body(n, 1) for n in range(ASKED if shown else 0)], 1))
            time.sleep(0.2 if shown else 0.0)
            started = time.perf_counter()
            path = f"{service.address}/models/bench@{number + 1}/load"
            httpx2.post(path, timeout=60).raise_for_status()
            seconds = time.perf_counter() - started
            answers = [reply.seconds for reply in asking.result()]
            if shown:
                points.setdefault("k-th load, s", []).append((number, seconds))
                points.setdefault("longest answer during a load / median", []).append(
                    (number, max(answers) / statistics.median(answers))
                )
                grown = (service.resident_megabytes - before) * 1e6
                points.setdefault("memory held / counted", []).append((number, grown / number / counted))
    aims = (0.5, None, None)
    return [
        Curve("6", name, "loaded", found, most=most) for (name, found), most in zip(points.items(), aims, strict=True)
    ]


def throughput(service: RunningService, send: Send, adapters: int) -> float:
    """Return the answers a second of a closed loop over this many adapters; all must be answered."""
    draws = random.Random(0)
    versions = [draws.randrange(adapters) + 2 for _ in range(REQUESTS)]
    send(plan(service, [body(n, 2 + n % adapters) for n in range(CONNECTIONS)]))
    started = time.perf_counter()
    replies = send(plan(service, [body(n, version) for n, version in enumerate(versions)]))
    seconds = time.perf_counter() - started
    assert {reply.status for reply in replies} == {200}
    return len(replies) / seconds


def plan(service: RunningService, bodies: list[str], connections: int = CONNECTIONS) -> Plan:
    """Return a closed loop."""
    return Plan(service.port, bodies, connections)


@cache
def quiz() -> tuple[Question, ...]:
    """Return the questions."""
    return facts.build().test


def body(number: int, version: int) -> str:
    """Return the body of a question to a version."""
    asked = quiz()[number % len(quiz())]
    return json.dumps({"question": asked.text, "options": list(asked.options), "model": f"bench@{version}"})
