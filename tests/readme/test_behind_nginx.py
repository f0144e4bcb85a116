"""A real service behind a real nginx that removes the prefix /uq/, with the configuration of the README."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

from tests.benchmarks.served import running_service
from tests.conftest import PublishedTiny
from tests.readme.examples.service import NGINX
from tests.service.nginx import running_nginx
from tests.service.page.browsing import Page, open_chromium
from uq4ct.client import AsyncClient, Client

pytestmark = pytest.mark.slow
HOST = "proxy_set_header Host $http_host;"
QUESTION = {"question": "Which one?", "options": ["this", "that"]}
HOSTS = {"the README's": True, "nginx's own": False}  # whether nginx passes the Host of the client on


@dataclass(frozen=True)
class Proxied:
    """A service, and a folder for the nginx in front of it."""

    service: str
    root_path: str
    folder: Path

    @contextmanager
    def behind_nginx(self, *, passes_host: bool = True) -> Iterator[str]:
        """Yield the address of an nginx with the README's location; the service is at its /uq/."""
        location = NGINX.replace("http://127.0.0.1:8000", self.service)
        assert self.service in location
        assert HOST in location
        location = location if passes_host else location.replace(HOST, "")
        with running_nginx(self.folder, location) as address:
            yield address


@pytest.fixture(scope="module", params=["/uq", ""])
def proxied(
    publish_tiny_in: Callable[..., PublishedTiny], tmp_path_factory: pytest.TempPathFactory, request: Any
) -> Iterator[Proxied]:
    """A service with this UQ4CT_ROOT_PATH."""
    folder = tmp_path_factory.mktemp("proxied")
    published = publish_tiny_in(folder / "store")
    with running_service(published.registry.root, DTYPE="float32", ROOT_PATH=request.param) as service:
        yield Proxied(service.address, request.param, folder)


@pytest.mark.parametrize("host", HOSTS)
def test_the_page_works_below_the_prefix(proxied: Proxied, tmp_path: Path, host: str) -> None:
    with proxied.behind_nginx(passes_host=HOSTS[host]) as address, open_chromium(tmp_path) as driver:
        page = Page(driver)
        page.open_loaded(f"{address}/uq")
        page.ask(QUESTION["question"], *QUESTION["options"])
        assert page.all("#answer .chosen")
        fetched = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        page.one("nav a[href='docs']").click()
        page.until(lambda: page.driver.current_url == f"{address}/uq/docs")
        page.until(lambda: page.all("#operations-body details"))
    assert {name.removeprefix(f"{address}/uq/").split("?")[0] for name in fetched} >= {
        "page/main.js", "page/page.css", "models", "calibration", "predict",
    }  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_documents_redirects_and_problems_keep_the_prefix(proxied: Proxied, host: str) -> None:
    with (
        proxied.behind_nginx(passes_host=HOSTS[host]) as address,
        httpx2.Client(base_url=f"{address}/uq", timeout=30) as http,
    ):
        assert 'src="page/docs.js"' in http.get("/docs").text
        document = http.get("/openapi.json").json()
        assert document["servers"] == [{"url": proxied.root_path or "/"}]
        if proxied.root_path:  # else the service does not know the prefix
            assert httpx2.get(urljoin(address, f"{proxied.root_path}/models")).status_code == 200
        for path in ("/docs/", "/models/tiny/", "/v2/?a=b%20c"):
            redirected = http.get(path, follow_redirects=True)
            wanted = f"{address}/uq{path}".replace("/?", "?").removesuffix("/")
            assert (redirected.status_code, str(redirected.url)) == (200, wanted)
        assert http.post("/predict/", json=QUESTION, follow_redirects=True).status_code == 200
        lost = http.get("/nowhere")
        assert lost.headers["content-type"] == "application/problem+json"
        assert lost.json()["detail"] == f"GET {proxied.root_path}/nowhere"
        assert http.head("/models").headers["content-type"] == "application/json"
        packed = gzip.compress(json.dumps(QUESTION).encode())
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        assert http.post("/predict", content=packed, headers=headers).status_code == 200


def _ask(client: Client) -> list[Any]:
    answer = client.predict("Which one?", ["this", "that"])
    receipt = client.feedback({"prediction_id": answer.prediction_id, "answer": "A"})
    return [answer.model, client.models().models[0].name, receipt.result, client.prediction(answer.prediction_id).model]


async def _ask_async(client: AsyncClient) -> list[Any]:
    async with client:
        answer = await client.predict("Which one?", ["this", "that"])
        receipt = await client.feedback({"prediction_id": answer.prediction_id, "answer": "A"})
        stored = await client.prediction(answer.prediction_id)
        return [answer.model, (await client.models()).models[0].name, receipt.result, stored.model]


def test_the_client_works_below_the_prefix(proxied: Proxied) -> None:
    with proxied.behind_nginx() as address:
        for base_url in (f"{address}/uq", f"{address}/uq/"):
            with Client(base_url) as client:
                assert _ask(client) == ["tiny@1", "tiny", "accepted", "tiny@1"]
            assert asyncio.run(_ask_async(AsyncClient(base_url))) == ["tiny@1", "tiny", "accepted", "tiny@1"]
