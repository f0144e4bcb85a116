from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import torch
from fastapi import FastAPI
from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry

from tests.manifests import TINY_BASE, make_draft, make_provenance, make_scores
from tests.service.engine.engines import Run, running
from tests.service.fake_predictor import FakeHost, FakePredictor
from uq4ct.model_store.decisions import Abstention, ConformalSets, Decisions, TestedDecisions
from uq4ct.model_store.scoring.config import ClozeConfig
from uq4ct.model_store.storage.manifest import ManifestDraft, ReferenceHistograms
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.threads import ThreadChoice
from uq4ct.service.access.clocks import Clocks
from uq4ct.service.app import create_app
from uq4ct.service.context import Context
from uq4ct.service.engine.predictor import Host
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

SCORES = make_scores(auroc_feu=None, auroc_error_score=None, ece_feu=None, mean_feu=None)

DECISIONS = Decisions(
    sets=ConformalSets(score="lac", coverage=0.5, max_set_size=None, questions=3, scores=(0.25, 0.5, 0.75)),
    abstention=Abstention(
        target="risk",
        value=0.25,
        guarantee=0.95,
        threshold=0.6,
        questions=3,
        risk=0.0,
        risk_bound=0.2,
        coverage=0.7,
        coverage_bound=0.5,
    ),
    tested=TestedDecisions(set_coverage=0.55, mean_set_size=1.5, answered=0.7, selective_risk=0.1),
)


def draft(name: str) -> ManifestDraft:
    """A draft with decisions and without FEU; clients must not see its paths."""
    return make_draft(
        name,
        base=TINY_BASE.model_copy(update={"name": "/srv/weights/secret-place/tiny"}),
        scoring=ClozeConfig(max_tokens=128),
        scores_before=None,
        scores_after=SCORES,
        reference_histograms=ReferenceHistograms(
            bins=3, questions=20, confidence=(2, 6, 12), feu=None, accuracy=0.65, ece=0.1
        ),
        decisions=DECISIONS,
        provenance=make_provenance(recipe={"data": "/srv/data/secret-place"}, code_commit=None),
    )


@pytest.fixture(scope="session")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with toy@1 (production), toy@2 (staging) and other@1; tests only read it."""
    root = tmp_path_factory.mktemp("store")
    adapters = Registry(root)
    for name in ("toy", "toy", "other"):
        adapters.publish(draft(name), {"w": torch.ones(2)}, {}, promote=False)
    adapters.promote("toy", 2, "staging")
    return root


@pytest.fixture
def adapters(store_dir: Path) -> Registry:
    return Registry(store_dir)


@pytest.fixture
def own_adapters(tmp_path: Path, store_dir: Path) -> Registry:
    """A copy of the store, for a test that changes it."""
    return Registry(shutil.copytree(store_dir, tmp_path / "own"))


@pytest.fixture
def predictor(adapters: Registry) -> FakePredictor:
    return FakePredictor(adapters.manifest("toy"))


@pytest.fixture
def host(predictor: FakePredictor) -> FakeHost:
    """A base model that uses `predictor` for toy@1."""
    return FakeHost(predictor)


@pytest.fixture
def run(host: FakeHost, adapters: Registry) -> Run:
    """Run an engine on `host`: run(default=..., poll=..., probe=..., **limits)."""
    return partial(running, host, adapters)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Replica:
    """A running app, a client of it, and its context."""

    app: FastAPI
    client: httpx2.AsyncClient
    context: Context
    registry: CollectorRegistry

    async def post(self, path: str, body: Any = None) -> Any:
        """POST to a path, with a JSON body if one is given."""
        return await self.client.post(path, json=body)

    async def ask(self, text: str = "Which one?", options: tuple[str, ...] = ("this", "that"), **fields: Any) -> Any:
        """POST /predict."""
        return await self.client.post("/predict", json={"question": text, "options": list(options), **fields})

    def sample(self, name: str, **labels: str) -> float | None:
        """Return the value of a metric."""
        return self.registry.get_sample_value(f"uq4ct_{name}", labels)

    async def settle(self, condition: Callable[[], object]) -> None:
        """Let the app run until the condition is true."""
        for _ in range(2000):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise TimeoutError("never became true")


Start = Callable[..., AbstractAsyncContextManager[Replica]]


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite ledger with its schema; tests copy it."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite3"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def start(adapters: Registry, predictor: FakePredictor, host: FakeHost, tmp_path: Path, empty_ledger: Path) -> Start:
    """Start a replica; the keywords of `run` that are no argument of `create_app` are settings.

    Its default model is toy.
    """

    @asynccontextmanager
    async def run(
        load: Callable[[], Host] = host.load,
        wait: bool = True,
        adapters: Registry = adapters,
        threads: ThreadChoice | None = None,
        clocks: Clocks | None = None,
        tracer_provider: TracerProvider | None = None,
        **settings: Any,
    ) -> AsyncIterator[Replica]:
        if "database_url" not in settings:
            settings["database_url"] = f"sqlite:///{shutil.copy(empty_ledger, tmp_path)}"
        registry = CollectorRegistry()
        ids = TimeOrderedIds(time.time, secrets.randbits)
        app = create_app(
            load,
            adapters,
            Settings(**{"default_model": "toy", **settings}),
            registry,
            ids,
            threads=threads,
            clocks=clocks,
            tracer_provider=tracer_provider,
        )
        transport = httpx2.ASGITransport(app)
        client = httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=20)
        async with app.router.lifespan_context(app), client:
            replica = Replica(app, client, app.state.context, registry)
            if wait:
                await replica.context.ledger.wait_until_opened()
                await replica.context.engine.wait_until_loaded()
            try:
                yield replica
            finally:
                predictor.forward_may_start.set()
                host.adding_may_end.set()

    return run
