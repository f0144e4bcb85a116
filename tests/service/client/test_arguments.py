"""Arguments with which no request can be made: a `ClientError` that names the argument and shows no secret."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.service.client.scripted_service import PREDICTION, Script, both_forms
from uq4ct.client import (
    AsyncClient,
    Client,
    ClientError,
    ClosedClientError,
    InvalidArgumentError,
    Retries,
    UnreachableError,
)

both_clients = pytest.mark.parametrize("kind", [Client, AsyncClient])
ADDRESS = "http://127.0.0.1:8000"
NAN = float("nan")
AB = ["a", "b"]
ASK: dict[str, Any] = {"question": "q", "options": AB}


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
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.predict("q", AB, abstain_below=NAN), r"abstain_below: must be finite \(got nan\)"),
        (lambda c: c.predict("q", AB, coverage=float("inf")), r"coverage: must be finite \(got inf\)"),
        (lambda c: c.predict("q", AB, coverage=np.float32("nan")), r"coverage: .*\(got np.float32\(nan\)\)"),
        (lambda c: c.predict("q", AB, context="\ud800"), r"context: .*UTF-8 cannot express \(got '\\ud800'\)"),
        (lambda c: c.predict("q", AB, tags=object()), r"tags: must be text, .* \(got <object object at"),
        (lambda c: c.predict("q", AB, tags=["x", NAN]), r"tags\[1\]: must be finite \(got nan\)"),
        (lambda c: c.predict("q", AB, coverage=10**5000), "/predict: the request cannot be written as JSON: "),
        (lambda c: c.predict(NAN, AB), r"question: must be finite \(got nan\)"),
        (lambda c: c.predict("q", ["a", NAN]), r"options\[1\]: must be finite \(got nan\)"),
        (lambda c: c.predict("q", "ab"), r"options: must be several texts \(got the single text 'ab'\)"),
        (lambda c: c.predict("q", {"a", "b"}), r"options: must be several texts in an order, such as a list \(got {'"),
        (lambda c: c.predict("q", None), r"options: .*\(got None\)"),
        (lambda c: c.predict_batch([ASK, {"question": "q"}]), r"questions\[1\]\.options: .*\(got None\)"),
        (lambda c: c.predict_batch([ASK, ASK | {"coverage": NAN}]), r"questions\[1\]\.coverage: .*\(got nan\)"),
        (lambda c: c.predict_batch([ASK, "q"]), r"questions\[1\]: must be a mapping with question .*\(got 'q'\)"),
        (lambda c: c.predict_batch(ASK), r"questions: must be several questions in an order"),
        (lambda c: c.predict_batch(None), r"questions: .*\(got None\)"),
        (lambda c: c.predict_batch([ASK], concurrency=0), r"concurrency: must be a whole number, 1 to 8 \(got 0\)"),
        (lambda c: c.predict_batch([ASK], concurrency=2.5), r"concurrency: .*\(got 2.5\)"),
        (lambda c: c.feedback({"prediction_id": "p", "answer": NAN}), r"label\.answer: must be finite \(got nan\)"),
        (lambda c: c.feedback(None), r"label: must be a mapping .*\(got None\)"),
        (lambda c: c.feedback_batch([{"prediction_id": NAN, "answer": 1}]), r"labels\[0\]\.prediction_id: must be fin"),
        (lambda c: c.prediction(7), r"prediction_id: must be text \(got 7\)"),
        (lambda c: c.model(None), r"name: must be text \(got None\)"),
        (lambda c: c.calibration(24), r"window: must be text \(got 24\)"),
    ],
)  # fmt: skip
def test_a_call_names_the_argument_and_the_value_that_cannot_be_sent(form: str, call: Any, message: str) -> None:
    script = Script()
    with pytest.raises(InvalidArgumentError, match=f"^{message}") as caught:
        script.run(form, call)
    assert isinstance(caught.value, ClientError)
    assert "\n" not in str(caught.value)
    assert script.requests == []


@both_forms
def test_scalars_and_arrays_of_numpy_are_taken_for_numbers_and_lists(form: str) -> None:
    receipt = httpx2.Response(200, json={"prediction_id": "p", "result": "accepted"})
    script = Script(httpx2.Response(200, json=PREDICTION), receipt, receipt)
    extra: dict[str, Any] = {"abstain_below": np.float32(0.5), "coverage": np.array(0.75), "tags": np.array(["t"])}
    tries: Any = (np.int64(1), np.float32(0.5), np.int8(4))
    settings: dict[str, Any] = {"timeout": np.float64(5), "retries": Retries(*tries)}
    script.run(form, lambda client: client.predict(np.str_("q"), np.array(["a", "b"]), **extra), **settings)
    script.run(form, lambda client: client.feedback({"prediction_id": "p", "answer": np.int64(1)}), **settings)
    script.run(form, lambda client: client.feedback({"prediction_id": "p", "answer": WholeNumber()}), **settings)
    question, *labels = script.bodies
    assert question == {
        "question": "q", "options": ["a", "b"], "abstain_below": 0.5, "coverage": 0.75, "tags": ["t"],
    }  # fmt: skip
    assert [label["answer"] for label in labels] == [1, 1]
    assert repr(settings["retries"]) == "Retries(attempts=1, first_wait=0.5, longest_wait=4)"


class WholeNumber:
    """A whole number that is no `int`."""

    def __index__(self) -> int:
        return 1


@pytest.mark.parametrize("call", [lambda c: c.models(), lambda c: c.predict("q", AB), lambda c: c.predict_batch([ASK])])
def test_a_closed_client_says_so(call: Any) -> None:
    client = Client(ADDRESS, transport=httpx2.MockTransport(Script().handle))
    client.close()
    with pytest.raises(ClosedClientError, match=r"^/.*: the client is closed; make a new one$"):
        call(client)

    async def close_and_call() -> None:
        client = AsyncClient(ADDRESS, transport=httpx2.MockTransport(Script().handle))
        await client.close()
        await call(client)

    with pytest.raises(ClosedClientError, match=r"^/.*: the client is closed; make a new one$"):
        asyncio.run(close_and_call())


def test_the_fallback_does_not_answer_for_a_closed_client() -> None:
    client = Client(ADDRESS)
    client.close()
    with pytest.raises(ClosedClientError):
        client.answer_or("q", AB, lambda declined: "fallback")


def test_a_client_that_reaches_nobody_names_the_address_and_the_reason_but_no_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    message = (
        f"^could not reach http://127.0.0.1:{port}/prefix: no response after 1 attempts: "
        r"ConnectError: \[Errno 111\] Connection refused$"
    )
    address = f"http://user:secret@127.0.0.1:{port}/prefix/"
    with Client(address, retries=Retries(attempts=1)) as client, pytest.raises(UnreachableError, match=message):
        client.models()


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
