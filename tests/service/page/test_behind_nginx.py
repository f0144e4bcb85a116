"""A real service behind a real nginx that removes the prefix /uq/, with the configuration of the README."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

from tests.benchmarks.served import running_service
from tests.conftest import PublishedTiny
from tests.readme.examples.service import NGINX
from tests.service.nginx import running_nginx
from tests.service.page.browsing import Page
from uq4ct.client import AsyncClient, Client

pytestmark = pytest.mark.slow
QUESTION = {"question": "Which one?", "options": ["this", "that"]}
HOSTS = {"the README's": "", "the client's host": "proxy_set_header Host $http_host;"}


@contextmanager
def proxied(published: PublishedTiny, folder: Path, root_path: str, more: str = "") -> Iterator[str]:
    """Yield the address of nginx; the service is below its /uq/."""
    with running_service(published.registry.root, DTYPE="float32", ROOT_PATH=root_path) as service:
        location = NGINX.replace("http://127.0.0.1:8000", service.address).replace("}", f"    {more}\n}}")
        assert service.address in location
        with running_nginx(folder, location) as address:
            yield address


@pytest.mark.parametrize("root_path", ["/uq", ""])
def test_the_page_works_below_the_prefix(
    published_tiny: PublishedTiny, tmp_path: Path, page: Page, root_path: str
) -> None:
    with proxied(published_tiny, tmp_path, root_path) as address:
        page.open_loaded(f"{address}/uq")
        page.ask(QUESTION["question"], *QUESTION["options"])
        assert page.all("#answer .chosen")
        fetched = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
        page.one("nav a[href='docs']").click()
        page.until(lambda: page.driver.current_url == f"{address}/uq/docs")
    assert {name.removeprefix(f"{address}/uq/").split("?")[0] for name in fetched} >= {
        "page/main.js", "page/page.css", "models", "calibration", "predict",
    }  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("root_path", ["/uq", ""])
def test_documents_redirects_and_problems_keep_the_prefix(
    published_tiny: PublishedTiny, tmp_path: Path, root_path: str, host: str
) -> None:
    with (
        proxied(published_tiny, tmp_path, root_path, HOSTS[host]) as address,
        httpx2.Client(base_url=f"{address}/uq", timeout=30) as http,
    ):
        docs = http.get("/docs")
        (document_url,) = re.findall(r"url: '([^']+)'", docs.text)
        assert urljoin(str(docs.url), document_url) == f"{address}/uq/openapi.json"
        document = http.get("/openapi.json").json()
        assert document.get("servers") == ([{"url": "/uq"}] if root_path else None)
        for server in document.get("servers", []):
            assert httpx2.get(urljoin(address, f"{server['url']}/models")).status_code == 200
        for path in ("/docs/", "/models/tiny/", "/v2/?a=b%20c"):
            redirected = http.get(path, follow_redirects=True)
            wanted = f"{address}/uq{path}".replace("/?", "?").removesuffix("/")
            assert (redirected.status_code, str(redirected.url)) == (200, wanted)
        assert http.post("/predict/", json=QUESTION, follow_redirects=True).status_code == 200
        lost = http.get("/nowhere")
        assert lost.headers["content-type"] == "application/problem+json"
        assert lost.json()["detail"] == f"GET {root_path}/nowhere"
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


@pytest.mark.parametrize("root_path", ["/uq", ""])
def test_the_client_works_below_the_prefix(published_tiny: PublishedTiny, tmp_path: Path, root_path: str) -> None:
    with proxied(published_tiny, tmp_path, root_path) as address:
        for base_url in (f"{address}/uq", f"{address}/uq/"):
            with Client(base_url) as client:
                assert _ask(client) == ["tiny@1", "tiny", "accepted", "tiny@1"]
            assert asyncio.run(_ask_async(AsyncClient(base_url))) == ["tiny@1", "tiny", "accepted", "tiny@1"]
