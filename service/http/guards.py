"""Authentication and authorization: the caller of a request and its scopes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security.base import SecurityBase

from uq4ct.service.access.key_ring import KeyRing
from uq4ct.service.access.keys import Scope
from uq4ct.service.access.rate_limit import RateLimitedError
from uq4ct.service.context import context_of
from uq4ct.service.engine.failures import DrainingError, NotReadyError, QueueFullError
from uq4ct.service.http.kinds import FORBIDDEN, UNAUTHORIZED
from uq4ct.service.http.problems import ProblemError, explain

PUBLIC_PAGE = frozenset({"/", "/docs", "/page/{name}", "/runbook"})  # the operator's pages, which contain no data
PUBLIC_PATHS = PUBLIC_PAGE | {"/health/live", "/health/ready", "/metrics", "/v2/health/live", "/v2/health/ready"}
PUBLIC_DOCS = frozenset({"/openapi.json"})
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class UnguardedRouteError(RuntimeError):
    """A route that neither declares a scope nor is public."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The sender of a request. `key_id` is the public id of the key; None if requests need no key."""

    key_id: str | None
    tenant: str
    scopes: frozenset[Scope]

    @property
    def reach(self) -> str | None:
        """The tenant whose predictions the caller may read and label; None for an admin: those of every tenant."""
        return None if Scope.ADMIN in self.scopes else self.tenant


ANYBODY = Caller(None, "default", frozenset(Scope))


class Guard(SecurityBase):
    """A dependency that checks the scope and yields the caller; OpenAPI shows it as the key that a route needs."""

    def __init__(self, scope: Scope, *, asks: bool) -> None:
        self.scope = scope
        self.asks = asks
        self.model = HTTPBearer(description="a key made by `uq4ct keys new`")
        self.scheme_name = "key"

    async def __call__(self, request: Request) -> Caller:
        """Return the caller.

        Raises:
            ProblemError: 401, there is no valid key; 403, the key lacks the scope; 429 or 503, no question is accepted
                now, from this key or from anyone.
        """
        caller = identify(request)
        if self.scope not in caller.scopes:
            raise ProblemError(FORBIDDEN, f"the key lacks the scope {self.scope}")
        if self.asks:
            _check_at_the_door(request)
        return caller


def require(scope: Scope, *, asks: bool = False) -> Guard:
    """Return a dependency that checks the scope and yields the caller.

    Args:
        asks: whether the route answers questions. If none can be accepted now, the request is rejected before its body
            is read, which keeps rejections cheap under overload.
    """
    return Guard(scope, asks=asks)


def identify(request: Request) -> Caller:
    """Return the caller of a request; looked up once per request.

    Raises:
        ProblemError: 401.
    """
    state = request.scope["state"]
    if "caller" not in state:
        keys = context_of(request).keys
        state["caller"] = ANYBODY if keys is None else _find(keys, request.headers.getlist("authorization"))
    return state["caller"]


def charge(request: Request, questions: int) -> None:
    """Count a request's questions against its key's rate limit; a second call for the same request replaces the first.

    Raises:
        RateLimitedError: the key may not ask that many now; nothing is counted.
    """
    limiter = context_of(request).limiter
    if limiter is None:
        return
    state = request.scope["state"]
    limiter.take(identify(request).key_id, questions, put_back=state.pop("charged", 0))
    state["charged"] = questions


def guards_of(dependant: Dependant) -> Iterator[Guard]:
    """Yield the guards among a route's dependencies, at any depth."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Guard):
            yield dependency.call
        yield from guards_of(dependency)


def refuse_unguarded_routes(app: FastAPI, public: frozenset[str]) -> None:
    """Deny by default: every route must declare a scope or be a read-only public path.

    Raises:
        UnguardedRouteError: a route does neither.
    """
    for route in iter_route_contexts(app.routes):
        reads = (route.methods or set()) <= {"GET", "HEAD"}
        is_guarded = isinstance(route.original_route, APIRoute) and any(guards_of(route.dependant))
        if not is_guarded and not (route.path in public and reads):
            raise UnguardedRouteError(f"{route.path} has no `require(scope)` and is not public")


def _find(keys: KeyRing, headers: Sequence[str]) -> Caller:
    if not headers:
        raise ProblemError(UNAUTHORIZED, "the header `Authorization: Bearer <key>` is missing", headers=_CHALLENGE)
    scheme, _, key = headers[0].partition(" ")
    # Starlette decodes headers as Latin-1. Requests with several Authorization headers are rejected.
    record = keys.find(key.strip(" ").encode("latin-1")) if len(headers) == 1 and scheme.lower() == "bearer" else None
    if record is None:
        raise ProblemError(UNAUTHORIZED, "the key is not valid", headers=_CHALLENGE)
    scopes = frozenset(Scope) if Scope.ADMIN in record.scopes else frozenset(record.scopes)
    return Caller(record.id, record.tenant, scopes)


def _check_at_the_door(request: Request) -> None:
    context = context_of(request)
    try:
        charge(request, 1)
        context.engine.check_room(1)
    except (RateLimitedError, DrainingError, NotReadyError, QueueFullError) as error:
        problem = explain(error)
        context.metrics.rejected.labels(problem.kind.reason).inc()
        raise problem from error
