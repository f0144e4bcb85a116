"""The page's files over HTTP: public, complete, correctly typed, and nothing else is served."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import Replica, Start
from tests.service.problem_documents import problem

pytestmark = pytest.mark.anyio
FOLDER = files("uq4ct.service.page")
TEXTS = {file.name: file.read_text("utf-8") for file in FOLDER.iterdir() if file.is_file() and file.name[-3:] != ".py"}
SCRIPTS = {name: text for name, text in TEXTS.items() if name.endswith(".js")}
REFERENCES = {
    ".html": re.compile(r'(?:src|href)="page/([^"]+)"'),
    ".js": re.compile(r'(?:from |import\()"\./([^"]+)"'),
    ".css": re.compile(r"url\(([^)]+)\)"),
}
ADDRESSES = {"index.html": "/", "docs.html": "/docs"}
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


async def fetch(replica: Replica, name: str, **headers: str) -> httpx2.Response:
    """GET a file of the page by its name in the package."""
    return await replica.client.get(ADDRESSES.get(name, f"/page/{name}"), headers=headers)


async def get_unnormalized(replica: Replica, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body of a GET whose path was not normalized by a client."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "GET", "scheme": "http", "http_version": "1.1", "server": ("service", 80),
        "path": unquote(path), "raw_path": path.encode(), "root_path": "", "query_string": b"",
        "headers": [(b"host", b"localhost")],
    }  # fmt: skip
    await replica.app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(part["body"] for part in sent[1:])


async def test_everybody_gets_the_page_and_nobody_without_a_key_gets_data(start: Start, keys: KeyHolder) -> None:
    async with start(api_keys_file=keys.file, docs_need_key=True) as replica:
        for name in TEXTS:
            assert (await fetch(replica, name)).status_code == 200
        for path in ("/models", "/calibration"):
            assert (await replica.client.get(path)).status_code == 401


async def test_only_a_browser_without_a_valid_key_gets_the_page_in_place_of_the_document(
    start: Start, keys: KeyHolder
) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    async with start(api_keys_file=keys.file, docs_need_key=True) as replica:
        for key in ({}, {"authorization": "Bearer uq4ct_wrong"}):
            shown = await replica.client.get("/openapi.json", headers=browser | key)
            assert (shown.status_code, shown.text) == (401, TEXTS["docs.html"])
            assert shown.headers["content-type"] == TYPES[".html"]
            assert (shown.headers["cache-control"], shown.headers["vary"]) == ("no-store", "Accept")
            assert shown.headers["www-authenticate"] == "Bearer"
            assert "script-src 'self'" in shown.headers["content-security-policy"]
            assert "etag" not in shown.headers
            for accept in ("*/*", "application/json"):
                told = await replica.client.get("/openapi.json", headers={"accept": accept, **key})
                problem(told, 401, "unauthorized")
        given = await replica.client.get("/openapi.json", headers=browser | keys.header("k"))
        assert given.json()["openapi"]
        problem(await replica.client.get("/models", headers=browser), 401, "unauthorized")


@pytest.mark.parametrize("name", TEXTS)
async def test_a_file_is_sent_as_it_is_with_its_type_and_the_policy(start: Start, name: str) -> None:
    async with start(wait=False) as replica:
        response = await fetch(replica, name)
    assert response.content == TEXTS[name].encode()
    assert response.headers["content-type"] == TYPES[PurePosixPath(name).suffix]
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    policy = dict(rule.strip().split(" ", 1) for rule in response.headers["content-security-policy"].split(";"))
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert {rule for rule, sources in policy.items() if sources == "'self'"} == {
        "script-src", "style-src", "img-src", "connect-src",
    }  # fmt: skip
    assert {rule for rule, sources in policy.items() if sources == "'none'"} == {
        "default-src", "base-uri", "form-action", "frame-ancestors", "trusted-types",
    }  # fmt: skip
    assert len(policy) == 9


async def test_the_browser_keeps_what_has_not_changed(start: Start) -> None:
    async with start(wait=False) as replica:
        tags = {name: (await fetch(replica, name)).headers["etag"] for name in TEXTS}
        assert len(set(tags.values())) == len(TEXTS)
        tag = tags["main.js"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            kept = await fetch(replica, "main.js", **{"if-none-match": known})
            assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", tag)
        for unknown in ('"other"', tags["api.js"], tag.strip('"'), ""):
            assert (await fetch(replica, "main.js", **{"if-none-match": unknown})).status_code == 200


async def test_whatever_the_page_refers_to_is_there_and_nothing_else_is_kept(start: Start) -> None:
    found, ahead = set(ADDRESSES), list(ADDRESSES)
    async with start(wait=False) as replica:
        while ahead:
            name = ahead.pop()
            text = (await fetch(replica, name)).text
            pattern = REFERENCES.get(PurePosixPath(name).suffix)
            for reference in set(pattern.findall(text) if pattern else ()) - found:
                assert (await fetch(replica, reference)).status_code == 200, f"{name} refers to {reference}"
                found.add(reference)
                ahead.append(reference)
    assert found == set(TEXTS)


@pytest.mark.parametrize(
    "path",
    [
        "/page", "/page/", "/page/index", "/page/__init__.py", "/page/main.js/", "/page/x/main.js", "/page/MAIN.JS",
        "/page/../security.py", "/page/..", "/page/%2e%2e/security.py", "/page/..%2fsecurity.py",
        "/page/%2e%2e%2fpage%2fmain.js", "/page/..%5csecurity.py", "/page//etc/passwd", "/page/%2fetc%2fpasswd",
        "/page/main.js%00", "/index.html", "/favicon.ico",
    ],
)  # fmt: skip
async def test_every_other_path_is_404(start: Start, path: str) -> None:
    async with start(wait=False) as replica:
        status, headers, body = await get_unnormalized(replica, path)
    if status == 307:  # the router redirects a trailing slash
        assert (path, headers[b"location"]) == ("/page/main.js/", b"../main.js")
    else:
        assert (status, json.loads(body)["title"]) == (404, "Not Found")


async def test_the_page_is_only_read_and_is_no_part_of_the_api(start: Start) -> None:
    async with start(wait=False) as replica:
        for path in ("/", "/page/main.js"):
            problem(await replica.client.post(path), 405, "method-not-allowed")
        paths = (await replica.client.get("/openapi.json")).json()["paths"]
    assert not [path for path in paths if path == "/" or path.startswith("/page")]


@pytest.mark.parametrize("name", TEXTS)
def test_no_file_names_a_host(name: str) -> None:
    hosts = set(re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]+[^\"\s]*", TEXTS[name]))
    assert hosts <= {"http://www.w3.org/2000/svg"}  # an XML namespace, never fetched


def test_the_markup_holds_nothing_that_the_policy_would_refuse() -> None:
    markup = TEXTS["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)", markup) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", markup) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_markup_or_code_from_text(name: str) -> None:
    makers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|localStorage|cookie"
    assert re.findall(makers, SCRIPTS[name]) == []


def scripts_of(page: str) -> set[str]:
    """The scripts that a page loads, directly or through others."""
    found: set[str] = set()
    ahead = [name for name in REFERENCES[".html"].findall(TEXTS[page]) if name in SCRIPTS]
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead += set(REFERENCES[".js"].findall(SCRIPTS[name])) & set(SCRIPTS) - found
    return found


@pytest.mark.parametrize("page", ADDRESSES)
def test_every_element_that_a_script_asks_for_is_in_the_markup(page: str) -> None:
    markup = TEXTS[page]
    ids = re.findall(r'\bid="([^"]+)"', markup)
    assert len(ids) == len(set(ids))
    asked = {name for script in scripts_of(page) for name in re.findall(r'byId\("([^"]+)"', SCRIPTS[script])}
    assert asked <= set(ids)
    assert len(asked) > 10
    assert set(re.findall(r'\bfor="([^"]+)"', markup)) <= set(ids)


def test_every_control_has_a_label() -> None:
    markup = TEXTS["index.html"]
    labelled = set(re.findall(r'<label for="([^"]+)"', markup))
    controls = re.findall(r"<(?:input|textarea|select)\b[^>]*", markup)
    assert {re.search(r'\bid="([^"]+)"', control)[1] for control in controls} == labelled  # pyright: ignore[reportOptionalSubscript]
