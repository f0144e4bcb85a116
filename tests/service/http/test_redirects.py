"""Addresses below a path prefix that a proxy removes; through a real proxy in tests/readme/test_behind_nginx.py."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx2
import pytest

from tests.service.conftest import Start

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/docs/", "/docs"),
        ("/v2/", "/v2"),
        ("/models/toy/", "/models/toy"),
        ("/models/a:b%25%3F/", "/models/a:b%25%3F"),
        ("/calibration/?window=7d&model=a%40b", "/calibration?window=7d&model=a%40b"),
    ],
)
@pytest.mark.parametrize("outside", ["https://host.example/uq", "http://host.example"])
async def test_a_redirect_keeps_the_scheme_the_host_and_the_prefix(
    start: Start, path: str, target: str, outside: str
) -> None:
    async with start() as replica:
        response = await replica.client.get(path)
    assert response.status_code == 307
    assert urljoin(outside + path, response.headers["location"]) == outside + target


async def test_a_post_is_redirected_with_its_body(start: Start) -> None:
    async with start() as replica:
        question = {"question": "Which?", "options": ["a", "b"]}
        response = await replica.client.post("/predict/", json=question, follow_redirects=True)
    assert (response.status_code, response.url.path) == (200, "/predict")


@pytest.mark.parametrize(("prefix", "servers"), [("", [{"url": "/"}]), ("/uq", [{"url": "/uq"}])])
async def test_openapi_names_the_prefix(start: Start, prefix: str, servers: object) -> None:
    async with start(root_path=prefix) as replica:
        transport = httpx2.ASGITransport(replica.app, root_path=prefix)
        async with httpx2.AsyncClient(transport=transport, base_url=f"http://localhost{prefix}") as client:
            assert (await client.get("/openapi.json")).json().get("servers") == servers
            assert "GET /nowhere" in (await client.get("/nowhere")).json()["detail"].replace(prefix, "")
