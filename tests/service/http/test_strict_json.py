"""No request body causes a 5xx response or breaks the service for the next client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.conftest import Start

TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | TEXT
VALUE = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
QUESTION = st.fixed_dictionaries(
    {},
    optional={
        "question": TEXT | VALUE,
        "options": st.lists(TEXT | VALUE, max_size=4) | VALUE,
        "context": TEXT | VALUE,
        "model": st.sampled_from(["toy", "toy@2", "toy@x", "a@b@c", "\x00"]) | VALUE,
        "extra": VALUE,
    },
)
BODY = st.one_of(
    QUESTION.map(json.dumps).map(str.encode),
    st.lists(QUESTION, max_size=3).map(lambda items: json.dumps({"questions": items}).encode()),
    VALUE.map(json.dumps).map(str.encode),
    st.binary(max_size=40),
    st.sampled_from([b'{"a":' * 20_000, b"[" * 20_000, b'{"question":1e999}', b'"\\ud800"', b"9" * 10_000]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(BODY, min_size=1, max_size=12))
def test_no_body_gives_a_5xx(start: Start, bodies: list[bytes]) -> None:
    async def ask() -> list[tuple[bytes, Any]]:
        async with start() as replica:
            return [
                (body, await replica.client.post(path, content=body, headers={"content-type": "application/json"}))
                for body in bodies
                for path in ("/predict", "/predict/batch")
            ]

    for body, response in asyncio.run(ask()):
        assert response.status_code in (200, 400, 404, 422), (body, response.text)
        results = response.json().get("results", []) if response.status_code == 200 else []
        assert all(result.get("status", 200) < 500 for result in results), (body, response.text)
