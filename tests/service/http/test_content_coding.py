"""Compressed request bodies: decoded within the payload limit, or rejected by the name of their coding."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from functools import partial
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.conftest import Replica, Start
from tests.service.problem_documents import QUESTION, problem
from uq4ct.service.http.content_coding import decoder_of
from uq4ct.service.http.problems import ProblemError

pytestmark = pytest.mark.anyio
BODY = json.dumps(QUESTION).encode()
GZIP = partial(gzip.compress, mtime=0)  # a time would be in the names of tests
ENCODE = {"gzip": GZIP, "deflate": zlib.compress, "identity": bytes}


def name_of(value: object) -> str | None:
    return "body" if isinstance(value, bytes) else None


async def send(replica: Replica, body: bytes, coding: str, path: str = "/predict") -> httpx2.Response:
    headers = {"content-type": "application/json", "content-encoding": coding}
    return await replica.client.post(path, content=body, headers=headers)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", GZIP(BODY)),
        ("GZIP", GZIP(BODY)),
        ("x-gzip", GZIP(BODY)),
        ("gzip, identity", GZIP(BODY)),
        ("gzip", GZIP(BODY[:9]) + GZIP(b"") + GZIP(BODY[9:])),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("", BODY),
    ],
    ids=name_of,
)
async def test_a_compressed_question_is_answered(start: Start, coding: str, body: bytes) -> None:
    async with start() as replica:
        plain = await replica.client.post("/predict", json=QUESTION)
        packed = await send(replica, body, coding)
    assert packed.status_code == 200
    assert packed.json() | {"prediction_id": ""} == plain.json() | {"prediction_id": ""}


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br"])
async def test_415_names_another_coding(start: Start, coding: str) -> None:
    async with start() as replica:
        for path in ("/predict", "/feedback", "/models/toy/promote"):
            response = await send(replica, BODY, coding, path)
            detail = problem(response, 415, "unsupported-content-coding")["detail"]
            assert detail == f"Content-Encoding is {coding!a} (supported: one of gzip, deflate)"
            assert response.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("coding", "body", "detail"),
    [
        ("gzip", BODY, "the body is not valid gzip"),
        ("gzip", GZIP(BODY)[:-9], "the gzip body ends too early"),
        ("gzip", GZIP(BODY)[:-1] + b"x", "the body is not valid gzip"),
        ("gzip", GZIP(BODY) + b"more", "the body is not valid gzip"),
        ("gzip", b"", "the gzip body ends too early"),
        ("gzip", GZIP(b""), "the body is empty"),
        ("deflate", GZIP(BODY), "the body is not valid deflate"),
        ("deflate", zlib.compress(BODY) + b"more", "the deflate body continues after its end"),
    ],
    ids=name_of,
)
async def test_400_badly_compressed(start: Start, coding: str, body: bytes, detail: str) -> None:
    async with start() as replica:
        assert problem(await send(replica, body, coding), 400, "malformed-json")["detail"] == detail


async def test_the_limit_counts_decoded_bytes(start: Start) -> None:
    async with start(payload_limit=1000) as replica:
        for coding in ("gzip", "deflate"):
            assert (await send(replica, ENCODE[coding](BODY.ljust(1000)), coding)).status_code == 200
            refused = await send(replica, ENCODE[coding](BODY.ljust(1001)), coding)
            assert problem(refused, 413, "too-large")["limit"] == 1000
        empty_members = GZIP(b"") * 51  # 20 bytes each
        problem(await send(replica, empty_members + GZIP(BODY), "gzip"), 413, "too-large")


async def test_a_bomb_is_refused_at_the_limit_without_being_decoded(start: Start) -> None:
    bomb = GZIP(bytes(100_000_000))
    async with start(payload_limit=100_000) as replica:
        await send(replica, bomb[:10], "gzip")
        tracemalloc.start()
        response = await send(replica, bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    problem(response, 413, "too-large")
    assert peak < 5_000_000


@given(st.lists(st.binary(max_size=200), max_size=4), st.sampled_from(list(ENCODE)), st.data())
def test_any_body_in_any_pieces_comes_back(parts: list[bytes], coding: str, data: Any) -> None:
    whole = b"".join(parts)
    coded = b"".join(map(GZIP, parts)) if coding == "gzip" and parts else ENCODE[coding](whole)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(coded)), max_size=5)))
    decoder, decoded = decoder_of([coding]), b""
    for begin, end in zip([0, *cuts], [*cuts, len(coded)], strict=True):
        decoded += decoder.decode(coded[begin:end], len(whole) + 1 - len(decoded))
    decoder.finish()
    assert decoded == whole


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_no_body_raises_anything_else(body: bytes, coding: str) -> None:
    decoder = decoder_of([coding])
    try:
        decoder.decode(body, 1000)
        decoder.finish()
    except ProblemError as error:
        status = error.status_code
    else:
        status = 400
    assert status == 400
