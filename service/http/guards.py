"""Who asks: the caller of a request and what it may do."""

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

PUBLIC_PAGE = frozenset({"/", "/page/{name}"})  # the operator's page, without any data
PUBLIC_PATHS = PUBLIC_PAGE | {"/health/live", "/health/ready", "/metrics", "/v2/health/live", "/v2/health/ready"}
PUBLIC_DOCS = frozenset({"/docs", "/docs/oauth2-redirect", "/openapi.json"})
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class UnguardedRouteError(RuntimeError):
    """A route that neither declares a scope nor is public."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key_id` is the public id of the key, None where requests need none."""

    key_id: str | None
    tenant: str
    scopes: frozenset[Scope]


ANYBODY = Caller(None, "default", frozenset(Scope))


class Guard(SecurityBase):
    """A dependency that yields the caller, who has the scope; OpenAPI shows it as the key that a route needs."""

    def __init__(self, scope: Scope, *, asks: bool) -> None:
        self.scope = scope
        self.asks = asks
        self.model = HTTPBearer(description="a key made by `uq4ct keys new`")
        self.scheme_name = "key"

    async def __call__(self, request: Request) -> Caller:
        """The caller.

        Raises:
            ProblemError: 401, there is no valid key; 403, it has not the scope; 429 or 503, no question of it, or of
                anybody, is taken now.
        """
        caller = identify(request)
        if self.scope not in caller.scopes:
            raise ProblemError(FORBIDDEN, f"the key has no scope {self.scope}")
        if self.asks:
            _check_at_the_door(request)
        return caller


def require(scope: Scope, *, asks: bool = False) -> Guard:
    """A dependency that yields the caller, who has the scope.

    Args:
        asks: the route answers questions, so where none is taken now the caller is refused before the body is read:
            under an overload, most of the work is to refuse.
    """
    return Guard(scope, asks=asks)


def identify(request: Request) -> Caller:
    """The caller of a request, found once.

    Raises:
        ProblemError: 401.
    """
    state = request.scope["state"]
    if "caller" not in state:
        keys = context_of(request).keys
        state["caller"] = ANYBODY if keys is None else _find(keys, request.headers.getlist("authorization"))
    return state["caller"]


def charge(request: Request, questions: int) -> None:
    """Count a request's questions against its key's rate limit; said again of the same request, it replaces.

    Raises:
        RateLimitedError: the key may not ask so many now; nothing is counted then.
    """
    limiter = context_of(request).limiter
    if limiter is None:
        return
    state = request.scope["state"]
    limiter.take(identify(request).key_id, questions, put_back=state.pop("charged", 0))
    state["charged"] = questions


def guards_of(dependant: Dependant) -> Iterator[Guard]:
    """The guards among a route's dependencies, however deep."""
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Guard):
            yield dependency.call
        yield from guards_of(dependency)


def refuse_unguarded_routes(app: FastAPI, public: frozenset[str]) -> None:
    """Deny by default: every route declares a scope, or is among the public paths and only reads.

    Raises:
        UnguardedRouteError: one does not.
    """
    for route in iter_route_contexts(app.routes):
        reads = (route.methods or set()) <= {"GET", "HEAD"}
        is_guarded = isinstance(route.original_route, APIRoute) and any(guards_of(route.dependant))
        if not is_guarded and not (route.path in public and reads):
            raise UnguardedRouteError(f"{route.path} takes no `require(scope)` and is not public")


def _find(keys: KeyRing, headers: Sequence[str]) -> Caller:
    if not headers:
        raise ProblemError(UNAUTHORIZED, "a header `Authorization: Bearer <key>` is needed", headers=_CHALLENGE)
    scheme, _, key = headers[0].partition(" ")
    # Headers are bytes that Starlette reads as Latin-1; a key that came in several headers is nobody's.
    record = keys.find(key.strip(" ").encode("latin-1")) if len(headers) == 1 and scheme.lower() == "bearer" else None
    if record is None:
        raise ProblemError(UNAUTHORIZED, "the key is not valid here", headers=_CHALLENGE)
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
