"""HEAD on every route that answers GET: the same status and headers, and no body."""

from __future__ import annotations

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from tests.service.conftest import Replica, Start
from tests.service.listening import on_a_socket

pytestmark = pytest.mark.anyio
VALUES = {"name": "toy", "version": "1", "prediction_id": "01a20138-8e1d-764c-934a-0817e5ea3e61"}
OF_EACH_RESPONSE = {"x-request-id", "date"}


def read_paths(app: FastAPI) -> list[str]:
    """Return a path for each route that answers GET."""
    found = [route.path or "" for route in iter_route_contexts(app.routes) if "GET" in (route.methods or ())]
    return ["/page/main.js" if path.startswith("/page") else path.format(**VALUES) for path in found]


def headers_of(response: httpx2.Response) -> dict[str, str]:
    left_out = OF_EACH_RESPONSE | ({"content-length"} if response.request.url.path == "/metrics" else set())
    return {name: value for name, value in response.headers.items() if name not in left_out}


async def both(replica: Replica, path: str) -> tuple[httpx2.Response, httpx2.Response]:
    return await replica.client.get(path), await replica.client.head(path)


async def test_head_is_get_without_a_body(start: Start) -> None:
    async with start() as replica:
        paths = read_paths(replica.app)
        assert {"/", "/docs", "/openapi.json", "/metrics", "/health/ready", "/models/toy", "/v2", "/calibration"} <= {
            *paths
        }
        for path in (*paths, "/nowhere", "/predict", "/models/nobody", "/docs/", "/calibration?window=x"):
            whole, head = await both(replica, path)
            assert (head.status_code, headers_of(head)) == (whole.status_code, headers_of(whole)), path
            assert (head.content, int(head.headers["content-length"]) > 0) == (b"", whole.content != b""), path


async def test_head_is_allowed_where_get_is(start: Start) -> None:
    async with start() as replica:
        for path, allowed in {"/models": "GET, HEAD", "/docs": "GET, HEAD", "/predict": "POST"}.items():
            response = await replica.client.put(path)
            assert (response.status_code, response.headers["allow"]) == (405, allowed)


async def test_head_is_no_operation_of_its_own(start: Start) -> None:
    async with start() as replica:
        document = (await replica.client.get("/openapi.json")).json()
    assert {method for operations in document["paths"].values() for method in operations} == {"get", "post"}


async def test_the_connection_can_be_used_again(start: Start) -> None:
    """A server that announced a body and sent one would break the next response."""
    async with start() as replica, on_a_socket(replica) as address, httpx2.AsyncClient(base_url=address) as client:
        for _ in range(2):
            head, whole = await client.head("/docs"), await client.get("/docs")
            assert (head.content, head.headers["content-length"]) == (b"", str(len(whole.content)))
