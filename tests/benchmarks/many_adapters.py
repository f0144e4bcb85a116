"""`python -m tests.benchmarks.many_adapters [store]`: loading and asking many adapters of one base model.

Prints the time of the k-th load, the longest answer of the default meanwhile, the memory of an adapter, and answers a
second with 1 and with all adapters, also when only half of them fit in memory. A store with the versions is kept for
the next run.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import httpx2
import torch

from tests.benchmarks.http_load import Plan, Reply, load_generator
from tests.benchmarks.served import RunningService, running_service
from tests.manifests import make_draft
from uq4ct.model_store.adapted_model import add_adapter
from uq4ct.model_store.adapters.config import AdapterConfig
from uq4ct.model_store.base.models import EMBEDDED, load_base_model
from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data import facts

ADAPTERS = 33  # the default and 32 more
SHAPE = AdapterConfig(experts=8, top_k=2, rank=4, alpha=8)
SHOWN_LOADS = (1, 9, 17, 32)
CONNECTIONS = 16
REQUESTS = 200
ASKED = 15  # questions to the default around a load

Send = Callable[[Plan], Sequence[Reply]]


def main(store: Path) -> None:
    """Print all figures."""
    registry = publish_versions(store)
    adapter_bytes = registry.load("bench@1").memory_bytes
    print(f"{ADAPTERS} adapters of {adapter_bytes / 1e6:.1f} MB", flush=True)
    with load_generator() as send:
        room = str(round(2 * adapter_bytes * ADAPTERS / 1e6))
        with running_service(store, DEFAULT_MODEL="bench@1", ADAPTER_MEMORY_MB=room) as service:
            measure_loads(service, send, adapter_bytes)
            measure_throughput(service, send, "1 adapter", 1)
            measure_throughput(service, send, "32 adapters", ADAPTERS - 1)
        half = str(round(adapter_bytes * ADAPTERS / 2 / 1e6))
        with running_service(store, DEFAULT_MODEL="bench@1", ADAPTER_MEMORY_MB=half) as service:
            measure_throughput(service, send, "32 adapters in half of the memory", ADAPTERS - 1, 40)


def publish_versions(store: Path) -> Registry:
    """Publish adapters with random weights as versions 1 to `ADAPTERS` of `bench`, unless the store has them."""
    registry = Registry(store)
    missing = ADAPTERS - len(registry.references())
    if missing:
        base = load_base_model(EMBEDDED)
        model = add_adapter(base, SHAPE, ClozeConfig())
        draft = make_draft("bench", base=base.identity, adapter=SHAPE, scoring=ClozeConfig())
        generator = torch.Generator().manual_seed(0)
        for _ in range(missing):
            tensors = {
                name: weight.detach() if weight.dim() < 2 else 0.02 * torch.randn(weight.shape, generator=generator)
                for name, weight in model.adapter_tensors().items()
            }
            registry.publish(draft, tensors, {}, promote=False)
    return registry


def measure_loads(service: RunningService, send: Send, adapter_bytes: int) -> None:
    """Load every version, and print some of the times, while one client asks the default."""
    before = service.resident_megabytes
    with ThreadPoolExecutor(1) as pool:
        for number in range(1, ADAPTERS):
            shown = number in SHOWN_LOADS
            asking = pool.submit(send, plan(service, [body(n, 1) for n in range(ASKED if shown else 0)], 1))
            time.sleep(0.2 if shown else 0.0)
            cpu, started = cpu_seconds(service), time.perf_counter()
            path = f"{service.address}/models/bench@{number + 1}/load"
            httpx2.post(path, timeout=60).raise_for_status()
            seconds, used = time.perf_counter() - started, cpu_seconds(service) - cpu
            answers = sorted(reply.seconds for reply in asking.result())
            if shown:
                print(
                    f"load {number}: {seconds:.2f} s, {used:.2f} CPU s with the default's answers, which take "
                    f"{answers[len(answers) // 2]:.3f} s, the longest {answers[-1]:.3f} s",
                    flush=True,
                )
    grown = (service.resident_megabytes - before) / (ADAPTERS - 1)
    print(f"memory of an adapter: {grown:.1f} MB held, {adapter_bytes / 1e6:.1f} MB counted", flush=True)


def cpu_seconds(service: RunningService) -> float:
    """Return the CPU time of the service."""
    used = service.process.cpu_times()
    return used.user + used.system


def measure_throughput(service: RunningService, send: Send, name: str, adapters: int, requests: int = REQUESTS) -> None:
    """Print requests a second of a closed loop over this many adapters, and what the replies were."""
    draws = random.Random(0)
    versions = [draws.randrange(adapters) + 2 for _ in range(requests)]
    send(plan(service, [body(n, 2 + n % adapters) for n in range(CONNECTIONS)]))
    started = time.perf_counter()
    replies = send(plan(service, [body(n, version) for n, version in enumerate(versions)]))
    seconds = time.perf_counter() - started
    statuses = Counter(reply.status for reply in replies)
    answered = sorted(reply.seconds for reply in replies if reply.status == 200)
    print(
        f"{name}: {statuses[200] / seconds:.1f} answers/s, p50 {answered[len(answered) // 2]:.2f} s, p99 "
        f"{answered[len(answered) * 99 // 100]:.2f} s, statuses {dict(statuses)} in {seconds:.1f} s",
        flush=True,
    )


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


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary) / "store")
