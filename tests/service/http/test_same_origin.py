"""What a page of another site, or one whose name was rebound to this machine, can make a browser send is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Replica, Start
from tests.service.http.every_request import every_request
from tests.service.problem_documents import QUESTION, problem
from uq4ct.service.http.redirects import RelativeRedirects
from uq4ct.service.http.same_origin import SameOrigin
from uq4ct.service.settings import Settings

pytestmark = pytest.mark.anyio

OWN = [
    "localhost",
    "localhost:8000",
    "LOCALHOST:1",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.8.9.1:80",
    "[::1]",
    "[::1]:8000",
]
FOREIGN = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "evil-localhost", "127.0.0.1.evil.example",
    "10.0.0.1", "192.168.0.1:8000", "[fe80::1]:8000", "::1", "[::1].evil.example", "[::1]evil:1",
    "localhost:8000@evil.example", "", "localhost:evil", "localhost:8000:8000", "localhost,evil.example",
    "0.0.0.0", "2130706433", "[::]", "localhöst",
]  # fmt: skip


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """A file with one key `k` with the scopes predict and admin."""
    holder = KeyHolder(tmp_path)
    holder.new("predict", "admin")
    return holder


async def send(replica: Replica, method: str, path: str, **headers: str) -> Any:
    """Send a request with these headers; underscores in their names become hyphens."""
    pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return await replica.client.send(replica.client.build_request(method, path, content=b"{}", headers=pairs))


def refused(response: Any, slug: str) -> None:
    """Check for a problem document or, under /v2, that protocol's error object."""
    if response.request.url.path.startswith("/v2"):
        assert (response.status_code, list(response.json())) == (403, ["error"])
    else:
        problem(response, 403, slug)


async def test_without_keys_every_route_accepts_loopback_names_only(start: Start) -> None:
    async with start() as replica:
        requests = every_request(replica.app)
        assert {("POST", "/models/name/load"), ("GET", "/"), ("GET", "/metrics"), ("GET", "/docs")} < set(requests)
        for method, path in requests:
            refused(await send(replica, method, path, host="evil.example"), "foreign-host")
        assert replica.sample("requests_total", route="unmatched", code="403") == len(requests)
        for host in OWN:
            assert (await send(replica, "GET", "/models", host=host)).status_code == 200, host
        for host in FOREIGN:
            refused(await send(replica, "GET", "/models", host=host), "foreign-host")


async def test_a_client_without_host_is_no_browser(start: Start) -> None:
    async with start() as replica:
        request = replica.client.build_request("GET", "/health/live")
        del request.headers["host"]
        assert (await replica.client.send(request)).status_code == 200


async def test_one_foreign_name_among_two_is_refused(start: Start) -> None:
    async with start() as replica:
        headers = [(b"host", b"localhost"), (b"host", b"evil.example")]
        response = await replica.client.send(replica.client.build_request("GET", "/models", headers=headers))
    refused(response, "foreign-host")


async def test_with_keys_or_behind_a_proxy_any_name_is_accepted_unless_names_are_set(
    start: Start, keys: KeyHolder
) -> None:
    for changes in ({"api_keys_file": keys.file}, {"allow_public_without_keys": True}):
        async with start(**changes) as replica:
            header = keys.header("k")
            assert (await send(replica, "GET", "/models", host="any.example", **header)).status_code == 200
        async with start(**changes, allowed_hosts=("uq.example", "2001:db8::1")) as replica:
            for host in ("UQ.example:443", "[2001:db8::1]:8000", "127.0.0.1:8000"):
                assert (await send(replica, "GET", "/models", host=host, **header)).status_code == 200
            refused(await send(replica, "GET", "/models", host="any.example", **header), "foreign-host")
    async with start(allowed_hosts=("uq.example",)) as replica:
        assert (await send(replica, "GET", "/models", host="uq.example")).status_code == 200
        refused(await send(replica, "GET", "/models", host="any.example"), "foreign-host")


FOREIGN_PAGES = [
    {"origin": "https://evil.example", "sec_fetch_site": "cross-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://localhost:3000"},  # another program on this machine
    {"origin": "http://localhost:3000", "sec_fetch_site": "same-site"},
    {"origin": "http://[localhost"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "Same-Origin, cross-site"},
]


@pytest.mark.parametrize("page", FOREIGN_PAGES)
@pytest.mark.parametrize("with_keys", [False, True])
async def test_other_pages_can_neither_ask_nor_change_anything(
    start: Start, keys: KeyHolder, page: dict[str, str], with_keys: bool
) -> None:
    async with start(api_keys_file=keys.file if with_keys else None) as replica:
        posts = [path for method, path in every_request(replica.app) if method == "POST"]
        assert {"/predict", "/models/name/load", "/models/name/unload", "/models/name/promote"} < set(posts)
        for path in posts:
            for kind in ({}, {"content_type": "text/plain"}, {"content_type": "application/json"}):
                response = await send(replica, "POST", path, host="localhost", **page, **kind, **keys.header("k"))
                refused(response, "foreign-origin")
        assert (await replica.client.get("/models", headers=keys.header("k"))).status_code == 200


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"origin": "http://localhost"},
        {"origin": "https://LOCALHOST"},
        {"origin": "http://localhost", "sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        # Behind a proxy that replaces Host:
        {"origin": "https://uq.example", "sec_fetch_site": "same-origin"},
        {"origin": "http://uq.example"},
        {"origin": "http://uq.example:8080"},
    ],
)
async def test_own_pages_and_other_clients_can_ask(start: Start, page: dict[str, str]) -> None:
    headers = {name.replace("_", "-"): value for name, value in page.items()}
    async with start(allowed_hosts=("uq.example",)) as replica:
        assert (await replica.client.post("/predict", json=QUESTION, headers=headers)).status_code == 200
        assert (await replica.client.post("/models/toy/load", headers=headers)).status_code == 200


async def test_other_pages_may_link_here(start: Start) -> None:
    async with start() as replica:
        for method in ("GET", "HEAD"):
            assert (await send(replica, method, "/", host="localhost", sec_fetch_site="cross-site")).status_code == 200


@pytest.mark.parametrize("page", [{"origin": "http://localhost"}, {"sec-fetch-site": "same-origin"}])
async def test_a_page_needs_a_content_type_where_other_clients_do_not(start: Start, page: dict[str, str]) -> None:
    tensors = [("question", "Which?"), ("options", '["a", "b"]')]
    inputs = [{"name": name, "shape": [1], "datatype": "BYTES", "data": [text]} for name, text in tensors]
    body = json.dumps({"inputs": inputs})
    async with start() as replica:

        async def infer(**headers: str) -> int:
            return (await replica.client.post("/v2/models/toy/infer", content=body, headers=headers)).status_code

        assert await infer() == 200
        assert await infer(**page) == 415
        assert await infer(**page, **{"content-type": "application/octet-stream"}) == 415
        assert await infer(**page, **{"content-type": "application/json"}) == 200


NAMES = st.sampled_from(
    ["localhost", "127.0.0.1", "[::1]", "evil.example", "", ":", "]", "[", "@", "8000", ":8000", "é"]
)


@given(st.lists(NAMES, max_size=5).map("".join))
def test_only_one_form_of_host_is_accepted(host: str) -> None:
    expected = host.removesuffix(":8000") in ("localhost", "127.0.0.1", "[::1]") or host in (
        "localhost:", "127.0.0.1:", "[::1]:",
    )  # fmt: skip
    assert _reaches_the_app({"host": host}) is expected


def _reaches_the_app(headers: dict[str, str]) -> bool:
    """Whether SameOrigin passes a GET on."""
    reached: list[bool] = []

    async def app(*_: Any) -> None:
        reached.append(True)

    async def ignore(*_: Any) -> Any: ...

    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": pairs, "state": {"request_id": "r"}}
    step = SameOrigin(app, Settings())(scope, ignore, ignore)
    with pytest.raises(StopIteration):
        step.send(None)
    return bool(reached)


HOSTILE = st.sampled_from(
    ["/", "\\", "..", ".", "%2f", "%5c", "evil.example", ":", "https:", "@", "?", "#", "docs", "models", "é"]
)


@given(st.lists(HOSTILE, max_size=6).map("".join), st.sampled_from(["", "/", "//evil.example/", "/\\evil.example/"]))
def test_a_redirect_never_names_a_host(tail: str, start: str) -> None:
    path = f"{start}{tail}/"
    location = _location(path if path.startswith("/") else f"/{path}")
    assert location.startswith("../")
    assert "\\" not in location
    target = urlsplit(urljoin("https://own.example/a/b/" + quote(path.lstrip("/")), location))
    assert (target.scheme, target.netloc) == ("https", "own.example")


def _location(path: str) -> str:
    """Return the Location that RelativeRedirects gives to a redirect of the router."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", b"http://evil.example/x")]
        await send({"type": "http.response.start", "status": 307, "headers": headers})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any: ...

    step = RelativeRedirects(app)({"type": "http", "path": path, "query_string": b""}, receive, send)
    with pytest.raises(StopIteration):
        step.send(None)
    return dict(sent[0]["headers"])[b"location"].decode("latin-1")
