"""The objects that the routes share: created once by `create_app`, found through the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.access.key_ring import KeyRing
from uq4ct.service.access.rate_limit import RateLimiter
from uq4ct.service.engine.engine import Engine
from uq4ct.service.ledger.ledger import Ledger
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.exposition import Exposition
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.telemetry.request_ids import TimeOrderedIds


@dataclass(slots=True)
class Context:
    """The parts of one replica."""

    settings: Settings
    adapters: Registry
    engine: Engine
    metrics: Metrics
    prediction_ids: TimeOrderedIds
    ledger: Ledger
    keys: KeyRing | None  # None: requests need no key
    limiter: RateLimiter | None
    exposition: Exposition
    started_ms: int  # Unix milliseconds


def context_of(request: Request) -> Context:
    """Return the context of the app that received the request."""
    return request.app.state.context


async def _context_of(request: Request) -> Context:
    return context_of(request)


ContextOf = Annotated[Context, Depends(_context_of)]  # async: FastAPI runs sync dependencies in a thread
