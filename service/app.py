"""The application: every part is passed in or made here, and nothing is global."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from model_store.storage.registry import Registry
from service.context import Context
from service.engine.engine import Engine, Limits
from service.engine.predictor import Host
from service.errors import install_handlers
from service.loading import choose_reference
from service.routes import health, metrics, models, predict
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.middleware import RequestTelemetry
from service.telemetry.request_ids import TimeOrderedIds

API_VERSION = "1"


def create_app(
    load: Callable[[], Host],
    adapters: Registry,
    settings: Settings,
    metrics_registry: CollectorRegistry,
    ids: TimeOrderedIds,
) -> FastAPI:
    """The service around one base model, which `load` brings into memory once the app has started.

    Args:
        load: called in the worker's thread; the app is not ready until the default adapter is on it and warm.
        adapters: the model store, from which adapters are put on the base model.
        metrics_registry: where `/metrics` is collected from.
        ids: of predictions, and of requests that bring none.

    Raises:
        SettingsError, InvalidReferenceError, UnknownAdapterError: it is not settled which adapter is the default.
    """
    telemetry = Metrics(metrics_registry)
    engine = Engine(load, choose_reference(settings, adapters), adapters, _limits(settings), telemetry)
    context = Context(settings, adapters, engine, telemetry, ids)
    app = FastAPI(
        title="Multiple-choice answers with calibrated confidence",
        version=API_VERSION,
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.context = context
    app.add_middleware(RequestTelemetry, metrics=telemetry, new_id=ids.new)
    install_handlers(app)
    for room in (predict, models, health, metrics):
        app.include_router(room.router)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load behind an app that already says live and not ready; end when everything admitted is answered."""
    context: Context = app.state.context
    engine = context.engine
    engine.start(context.settings.alias_poll_seconds)
    try:
        yield
    finally:
        await engine.close()


def _limits(settings: Settings) -> Limits:
    return Limits(
        questions=settings.max_concurrent_requests,
        tokens=settings.max_queue_tokens,
        batch_tokens=settings.max_batch_tokens,
        adapter_bytes=settings.adapter_memory_mb * 1_000_000,
        seconds=settings.request_timeout_seconds,
    )
