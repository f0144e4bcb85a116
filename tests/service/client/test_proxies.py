"""Proxies of the environment: none for loopback, named where they cannot be used, and never hidden by a fallback."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.command_line import uq4ct
from tests.ports import free_port
from tests.service.client.scripted_service import ONCE, PREDICTION, both_forms
from uq4ct.client import AsyncClient, Client, ClientError, Retries, UnreachableError, UnusableProxyError
from uq4ct.service.client.proxies import find_proxy

NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
UNUSABLE = ("http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense://x", "http://", "http://proxy:port")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without proxies."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


@contextmanager
def answering(status: int = 200) -> Iterator[tuple[int, list[str]]]:
    """A server on loopback that answers everything with a prediction; yields its port and the targets it was asked."""
    seen: list[str] = []
    body = json.dumps(PREDICTION).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that the base class calls
            seen.append(self.path)
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_CONNECT(self) -> None:
            seen.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port, seen
        finally:
            server.shutdown()
            thread.join()


def ask(form: str, address: str, retries: Retries = ONCE) -> Any:
    """Ask with a fallback; return the answer."""
    question = ("Which?", ["a", "b"], lambda declined: declined)
    if form == "sync":
        with Client(address, retries=retries, timeout=5) as client:
            return client.answer_or(*question).answer

    async def run() -> Any:
        async with AsyncClient(address, retries=retries, timeout=5) as client:
            return (await client.answer_or(*question)).answer

    return asyncio.run(run())


@both_forms
@pytest.mark.parametrize("name", [*NAMES, *map(str.lower, NAMES)])
@pytest.mark.parametrize("value", [*UNUSABLE, "::1,[x"])
def test_loopback_is_reached_directly_whatever_the_environment_says(
    form: str, name: str, value: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, value)
    with answering() as (port, seen):
        assert ask(form, f"http://127.0.0.1:{port}") == "Paris"
    assert seen == ["/predict"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "[::1]", "localhost", "LOCALHOST", "localhost."])
def test_every_name_of_loopback_is_direct(host: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "http://proxy:3128")
    assert find_proxy(httpx2.URL(f"http://{host}:8000")) is None
    assert find_proxy(httpx2.URL("http://localhost.example")) is not None
    assert find_proxy(httpx2.URL("http://10.0.0.1")) is not None


@both_forms
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_another_host_is_asked_through_the_proxy(form: str, scheme: str, environment: pytest.MonkeyPatch) -> None:
    with answering(200 if scheme == "http" else 502) as (port, seen):
        environment.setenv(f"{scheme}_proxy", f"127.0.0.1:{port}")
        if scheme == "http":
            assert ask(form, "http://service.example/uq") == "Paris"
        else:
            with pytest.raises(UnusableProxyError, match=r"127\.0\.0\.1"):
                ask(form, "https://service.example/uq")
    assert seen == [{"http": "http://service.example/uq/predict", "https": "service.example:443"}[scheme]]


@both_forms
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "socks5://user:secret@proxy:1080",
            r"proxy socks5://proxy:1080 \(HTTP_PROXY\): SOCKS needs the package socksio",
        ),
        ("nonsense://user:secret@x", r"proxy 'x' \(HTTP_PROXY\): must be http, https, socks5"),
        ("http://", r"proxy 'http://' \(HTTP_PROXY\): must be http"),
        ("http://user:secret@proxy:port", r"proxy 'proxy:port' \(HTTP_PROXY\): must be http"),
    ],
)
def test_an_address_that_is_none_is_named_by_the_constructor(
    form: str, value: str, message: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTP_PROXY", value)
    with pytest.raises(UnusableProxyError, match=f"^{message}") as caught:
        {"sync": Client, "async": AsyncClient}[form]("http://service.example")
    assert "secret" not in str(caught.value)


@both_forms
@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
def test_a_proxy_that_refuses_is_named_and_the_fallback_is_not_called(
    form: str, name: str, environment: pytest.MonkeyPatch
) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    environment.setenv(name, f"http://user:secret@{proxy}")
    message = rf"no connection through proxy http://{proxy} \({name}\) after 2 attempts: ConnectError"
    with pytest.raises(UnusableProxyError, match=message):
        ask(form, "http://service.example", Retries(attempts=2, first_wait=0.01))


@both_forms
def test_a_proxy_that_asks_for_a_password_is_named(form: str, environment: pytest.MonkeyPatch) -> None:
    with answering(407) as (port, _):
        environment.setenv("http_proxy", f"http://127.0.0.1:{port}")
        with pytest.raises(UnusableProxyError, match=rf"proxy http://127.0.0.1:{port} \(http_proxy\) .*: 407"):
            ask(form, "http://service.example")


def test_a_service_that_is_down_is_still_left_to_the_fallback() -> None:
    declined = ask("sync", f"http://127.0.0.1:{free_port()}")
    assert (declined.reason, type(declined.error)) == ("unavailable", UnreachableError)


@pytest.mark.parametrize(
    ("host", "exceptions", "direct"),
    [
        ("service.example", "", False),
        ("service.example", "*", True),
        ("service.example", "other.example, service.example", True),
        ("Service.Example", "SERVICE.example", True),
        ("a.service.example", "service.example", True),
        ("a.service.example", ".service.example", True),
        ("a.service.example", "*.service.example", True),
        ("myservice.example", "service.example", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("[fd00::1]", "::1,fd00::1", True),
        ("[fd00::1]", "[fd00::1]", True),
        ("[fd00::1]", "fd00::/8", True),
        ("10.1.2.3", "fd00::/8,a/b,[x,:", False),
    ],
)
def test_exceptions_to_the_proxy(host: str, exceptions: str, direct: bool, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTP_PROXY", "http://proxy:3128")
    environment.setenv("NO_PROXY", exceptions)
    assert (find_proxy(httpx2.URL(f"http://{host}")) is None) == direct


@both_forms
def test_unreadable_certificate_authorities_are_named(form: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SSL_CERT_FILE", "/no/such/file")
    with pytest.raises(ClientError, match="SSL_CERT_FILE=/no/such/file"):
        {"sync": Client, "async": AsyncClient}[form]("https://service.example")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--url", "http://service.example"], "error: proxy 'http://proxy:port' (HTTP_PROXY): must be"),
        (["--url", "localhost:8000"], "error: base_url: must start with"),
        (["--key", "a\n"], "error: api_key: "),
    ],
)
def test_replay_says_it_on_one_line(
    arguments: list[str], message: str, tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("HTTP_PROXY", "http://proxy:port")
    file = tmp_path / "week.jsonl"
    file.write_text('{"id": "1", "question": "?", "options": ["a", "b"], "answer": 0}\n', encoding="utf-8")
    done = uq4ct(["replay", str(file), "--asked", "1", "--minutes", "0.01", *arguments])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(message)
