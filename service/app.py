"""The application: every part is passed in or made here, and nothing is global."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from model_store.storage.registry import Registry
from service.context import Context
from service.engine.engine import Engine
from service.engine.predictor import Predictor
from service.errors import install_handlers
from service.ledger.ledger import Ledger
from service.routes import calibration, feedback, health, metrics, models, predict, predictions
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.middleware import RequestTelemetry
from service.telemetry.request_ids import TimeOrderedIds

API_VERSION = "1"


def create_app(
    load: Callable[[], Predictor[Any]],
    adapters: Registry,
    settings: Settings,
    metrics_registry: CollectorRegistry,
    ids: TimeOrderedIds,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service around one adapter, which `load` brings into memory once the app has started.

    Args:
        load: called in the worker's thread; the app is not ready until it has returned and the model is warm.
        adapters: the model store, for `/models` and for what a request's `model` may mean.
        metrics_registry: where `/metrics` is collected from.
        ids: of predictions, and of requests that bring none.
        clock: Unix seconds, by which the ledger tells the age of a prediction.
    """
    telemetry = Metrics(metrics_registry, settings.tasks)

    def load_and_name() -> Predictor[Any]:
        predictor = load()
        context.fix_references(predictor.manifest.name, predictor.manifest.version)
        return predictor

    engine = Engine(load_and_name, settings.max_concurrent_requests, settings.max_batch_tokens, telemetry)
    ledger = Ledger(settings, telemetry, clock)
    context = Context(settings, adapters, engine, telemetry, ids, ledger)
    app = FastAPI(
        title="Multiple-choice answers with calibrated confidence",
        version=API_VERSION,
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.context = context
    app.add_middleware(RequestTelemetry, metrics=telemetry, new_id=ids.new)
    install_handlers(app)
    for room in (predict, feedback, predictions, calibration, models, health, metrics):
        app.include_router(room.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load behind an app that already says live and not ready; end when everything admitted is answered and stored."""
    engine: Engine = app.state.context.engine
    ledger: Ledger = app.state.context.ledger
    ledger.start()
    engine.start()
    try:
        yield
    finally:
        await engine.close()
        await ledger.close()
