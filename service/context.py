"""What the routes share: made once by `create_app`, found through the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from model_store.storage.registry import Registry
from service.engine.engine import Engine
from service.key_ring import KeyRing
from service.ledger.ledger import Ledger
from service.rate_limit import RateLimiter
from service.settings import Settings
from service.telemetry.metrics import Metrics
from service.telemetry.request_ids import TimeOrderedIds


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


def context_of(request: Request) -> Context:
    """The context of the app that the request came to."""
    return request.app.state.context


async def _context_of(request: Request) -> Context:
    return context_of(request)


ContextOf = Annotated[Context, Depends(_context_of)]  # async, since FastAPI takes a thread for what is not
