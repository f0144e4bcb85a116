"""A request to every route."""

from __future__ import annotations

from collections.abc import Container

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


def every_request(app: FastAPI, leave_out: Container[str | None] = ()) -> list[tuple[str, str]]:
    """Return method and path of a request to every route, except routes with these paths."""
    return [
        (method, (route.path or "").replace("{", "").replace("}", ""))
        for route in iter_route_contexts(app.routes)
        for method in sorted(route.methods or {"GET"})
        if route.path not in leave_out
    ]
