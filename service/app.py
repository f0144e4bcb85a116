"""The application: every part is passed in or created here; there are no globals."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache

from fastapi import APIRouter, Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from opentelemetry.trace import TracerProvider
from prometheus_client import CollectorRegistry
from starlette.routing import BaseRoute

from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.threads import ThreadChoice
from uq4ct.service.access.clocks import Clocks
from uq4ct.service.access.key_ring import KeyRing
from uq4ct.service.access.rate_limit import RateLimiter
from uq4ct.service.context import Context
from uq4ct.service.engine.engine import Engine
from uq4ct.service.engine.limits import Limits
from uq4ct.service.engine.predictor import Host
from uq4ct.service.http.guards import PUBLIC_DOCS, PUBLIC_PATHS, Scope, refuse_unguarded_routes, require
from uq4ct.service.http.handlers import install_handlers
from uq4ct.service.http.head import HeadAsGet
from uq4ct.service.http.headers import SecurityHeaders
from uq4ct.service.http.middleware import QUIET_ROUTES, RequestTelemetry
from uq4ct.service.http.redirects import RelativeRedirects
from uq4ct.service.http.same_origin import SameOrigin
from uq4ct.service.http.unread_bodies import CloseUnreadBodies
from uq4ct.service.ledger.ledger import Ledger
from uq4ct.service.loading import choose_reference
from uq4ct.service.routes import (
    calibration,
    docs,
    feedback,
    health,
    metrics,
    models,
    page,
    predict,
    predictions,
    runbook,
    status,
)
from uq4ct.service.routes.open_inference import routes as open_inference
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.exposition import Exposition
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

API_VERSION = "1"


def create_app(  # noqa: PLR0913  # all but the first five are keywords with defaults
    load: Callable[[], Host],
    adapters: Registry,
    settings: Settings,
    metrics_registry: CollectorRegistry,
    ids: TimeOrderedIds,
    *,
    threads: ThreadChoice | None = None,
    clocks: Clocks | None = None,
    tracer_provider: TracerProvider | None = None,
) -> FastAPI:
    """Create the service around one base model, which `load` loads once the app has started.

    Args:
        load: called in the worker's thread; the app is not ready until the default adapter is loaded and warm.
        adapters: the model store from which adapters are loaded onto the base model.
        metrics_registry: the registry that `/metrics` exports.
        ids: generates prediction ids, and request ids for requests without one.
        threads: asked before each forward; None = the number of threads stays as it is.
        clocks: used for keys, rate limits and the ages of predictions; None = the system's clocks.
        tracer_provider: receives one span per request; None = no traces.

    Raises:
        LedgerError: the driver of UQ4CT_DATABASE_URL is not installed.
        KeyFileError: UQ4CT_API_KEYS_FILE cannot be used.
        SettingsError, InvalidReferenceError, UnknownAdapterError: the default adapter cannot be determined.
    """
    clocks = clocks or Clocks()
    telemetry = Metrics(metrics_registry, settings.tasks)
    engine = Engine(load, choose_reference(settings, adapters), adapters, _limits(settings), telemetry, threads)
    keys = None if settings.api_keys_file is None else KeyRing(settings.api_keys_file, clocks)
    if keys is not None:
        telemetry.watch_keys_file(keys.is_readable)
    limit = settings.rate_limit_per_minute
    limiter = None if limit is None else RateLimiter(limit, clocks.monotonic_ns)
    ledger = Ledger(settings, adapters, telemetry, clocks.wall)
    exposition = Exposition(metrics_registry, settings.metrics_pause_seconds)
    context = Context(settings, adapters, engine, telemetry, ids, ledger, keys, limiter, exposition, ledger.now_ms())
    telemetry.show_readiness(lambda: health.unreadiness(context) is None)
    app = FastAPI(
        **docs.ABOUT,
        version=API_VERSION,
        lifespan=_lifespan,
        routes=list(all_routes(settings.docs_need_key)),
        openapi_url=None,  # of FastAPI's own route, which knows neither keys nor relative addresses
        telemetry=_tracing(tracer_provider, settings.root_path),
    )
    app.state.context = context
    app.add_middleware(SameOrigin, settings=settings)
    app.add_middleware(RequestTelemetry, metrics=telemetry, new_id=ids.new)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RelativeRedirects)
    app.add_middleware(HeadAsGet)
    app.add_middleware(CloseUnreadBodies)
    install_handlers(app)
    refuse_unguarded_routes(app, PUBLIC_PATHS if settings.docs_need_key else PUBLIC_PATHS | PUBLIC_DOCS)
    return app


@cache  # building them takes FastAPI 50 ms, and they hold nothing of an app
def all_routes(docs_need_key: bool) -> tuple[BaseRoute, ...]:
    """Return the routes of the service."""
    router = APIRouter()
    for room in (predict, open_inference, feedback, predictions, calibration, models, status, health, metrics, page):
        router.include_router(room.router)
    router.include_router(runbook.router)
    router.include_router(docs.router, dependencies=[Depends(require(Scope.PREDICT))] if docs_need_key else [])
    return tuple(router.routes)


def _tracing(provider: TracerProvider | None, root_path: str) -> TelemetryConfig:
    """Return a configuration with request spans only: FastAPI's logs would contain the messages of exceptions."""
    return {
        "tracing": provider is not None,
        "tracer_provider": provider,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
        "exclude": lambda scope: scope["path"].removeprefix(root_path) in QUIET_ROUTES,
    }


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the model while the app is already live but not ready; end once all admitted work is answered and stored."""
    context: Context = app.state.context
    engine = context.engine
    context.ledger.start()
    engine.start(context.settings.alias_poll_seconds)
    try:
        yield
    finally:
        await engine.close()
        await context.ledger.close()
        if context.keys is not None:
            await context.keys.close()


def _limits(settings: Settings) -> Limits:
    return Limits(
        questions=settings.max_concurrent_requests,
        tokens=settings.max_queue_tokens,
        batch_tokens=settings.max_batch_tokens,
        adapter_bytes=settings.adapter_memory_mb * 1_000_000,
        seconds=settings.request_timeout_seconds,
    )
