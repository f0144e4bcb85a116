"""Arguments with which no request can be made: a `ClientError` that names the argument and shows no secret."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from tests.service.client.scripted_service import Script, both_forms
from uq4ct.client import AsyncClient, Client, ClientError, InvalidArgumentError

both_clients = pytest.mark.parametrize("kind", [Client, AsyncClient])
ADDRESS = "http://127.0.0.1:8000"


@both_clients
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"base_url": ""}, r"base_url: must start with http:// or https:// \(got ''\)"),
        ({"base_url": "localhost:8000"}, r"base_url: must start with http.* \(got 'localhost:8000'\)"),
        ({"base_url": "127.0.0.1:8000"}, "base_url: "),
        ({"base_url": "//host"}, "base_url: must start with"),
        ({"base_url": "ftp://host"}, "base_url: must start with .*'ftp://host'"),
        ({"base_url": "http://"}, r"base_url: must name a host \(got 'http://'\)"),
        ({"base_url": "http:///path"}, "base_url: must name a host"),
        ({"base_url": "http://host:port"}, r"base_url: is not a URL \(got 'http://host:port'\)"),
        ({"base_url": "http://host:99999"}, "base_url: must have a port of at most 65535"),
        ({"base_url": "http://[::1"}, "base_url: "),
        ({"base_url": "http://host\n"}, "base_url: is not a URL"),
        ({"base_url": " http://host"}, "base_url: "),
        ({"base_url": "http://host/?key=1"}, "base_url: must not have a query or a fragment .*key=1"),
        ({"base_url": "http://host?"}, "base_url: must not have a query or a fragment"),
        ({"base_url": "http://host/#part"}, "base_url: must not have a query or a fragment"),
        ({"base_url": None}, r"base_url: must be text \(got NoneType\)"),
        ({"api_key": "secret\n"}, "api_key: character 7 of 7 is a line end; only"),
        ({"api_key": "sec\r\nX-Header: ret"}, "api_key: character 4 of 18 is a line end"),
        ({"api_key": "secr\u00e9t"}, "api_key: character 5 of 6 is outside ASCII"),
        ({"api_key": "se cret"}, "api_key: character 3 of 7 is a space"),
        ({"api_key": "secret\x00"}, "api_key: character 7 of 7 is a control character"),
        ({"api_key": ""}, "api_key: must be text, not empty"),
        ({"api_key": b"secret"}, r"api_key: must be text, not empty \(got bytes\)"),
        ({"timeout": 0}, r"timeout: must be seconds, above 0 and at most 86400 \(got 0\)"),
        ({"timeout": -1.0}, "timeout: "),
        ({"timeout": float("nan")}, "timeout: .*nan"),
        ({"timeout": float("inf")}, "timeout: .*inf"),
        ({"timeout": 1e12}, "timeout: "),
        ({"timeout": "5"}, "timeout: .*'5'"),
        ({"timeout": None}, "timeout: .*None"),
        ({"retries": 3}, r"retries: must be Retries \(got 3\)"),
    ],
)
def test_the_constructor_names_the_argument(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"^{message}") as caught:
        kind(**{"base_url": ADDRESS, **arguments})
    assert isinstance(caught.value, ClientError)
    assert "secr" not in str(caught.value)


@both_clients
@pytest.mark.parametrize("address", ["http://user:pass@", "http://user:pa:ss@host:x", "ftp://user:pass@host"])
def test_no_message_holds_the_password_of_a_url(kind: Any, address: str) -> None:
    with pytest.raises(InvalidArgumentError, match="base_url") as caught:
        kind(address)
    assert "pa" not in str(caught.value)


@both_clients
@pytest.mark.parametrize(
    "address",
    ["http://host", "HTTPS://Host:8443/prefix/", "http://[::1]:8000", "http://user:pass@host", "http://bücher.example"],
)
def test_valid_addresses_are_taken(kind: Any, address: str) -> None:
    client = kind(address, api_key="!k~", timeout=86_400)
    asyncio.run(client.close()) if kind is AsyncClient else client.close()


@both_forms
@pytest.mark.parametrize("extra", [{"abstain_below": float("nan")}, {"context": "\ud800"}, {"tags": object()}])
def test_a_value_that_json_cannot_express_is_an_error_of_the_client(form: str, extra: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^/predict: the request cannot be written as JSON: "):
        Script().run(form, lambda client: client.predict("Which?", ["a", "b"], **extra))


@both_forms
@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (httpx2.DecodingError("bad gzip"), "UnreadableResponseError"),
        (httpx2.UnsupportedProtocol("x"), "UnreachableError"),
        (httpx2.LocalProtocolError("x"), "UnreachableError"),
    ],
)
def test_errors_of_the_http_library_that_no_retry_mends_are_errors_of_the_client(
    form: str, outcome: Exception, kind: str
) -> None:
    script = Script(outcome)
    with pytest.raises(ClientError) as caught:
        script.run(form, lambda client: client.models())
    assert (type(caught.value).__name__, caught.value.__cause__, len(script.requests)) == (kind, outcome, 1)
