"""A scripted transport for the client, and both forms of the client on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.service.ledger.conftest import make_record
from uq4ct.client import AsyncClient, Client, Retries
from uq4ct.service.schemas.predict import PredictResponse

NOW = 1_800_000_000.0
ONCE = Retries(attempts=1)
PROBLEM = {
    "type": "urn:uq4ct:problem:any", "title": "Title", "status": 0, "detail": "detail", "request_id": "r", "errors": [],
}  # fmt: skip
PREDICTION: dict[str, Any] = PredictResponse.from_answer(
    make_record(prediction_id="01a20138-8e1d-764c-934a-0817e5ea3e61"), options=("Madrid", "Paris")
).model_dump(mode="json") | {"a_field_of_a_newer_service": 1}


def refusal(status: int, **headers: str) -> httpx2.Response:
    return httpx2.Response(
        status, json=PROBLEM | {"status": status}, headers={"content-type": "application/problem+json", **headers}
    )


class Script:
    """Scripted outcomes of consecutive attempts, with the received requests and the waits between them."""

    def __init__(self, *outcomes: httpx2.Response | Exception) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[httpx2.Request] = []
        self.waits: list[float] = []

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx2.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def run(self, form: str, call: Callable[[Any], Any], **settings: Any) -> Any:
        """Make the call with a client of the form `sync` or `async`."""
        fixed = {
            "transport": httpx2.MockTransport(self.handle),
            "clock": lambda: NOW,
            "chance": lambda: 0.0,
            **settings,
        }
        if form == "sync":
            with Client("http://service/prefix", sleep=self.waits.append, **fixed) as client:
                return call(client)

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async def run() -> Any:
            async with AsyncClient("http://service/prefix", sleep=sleep, **fixed) as client:
                return await call(client)

        return asyncio.run(run())


def predict(client: Any) -> Any:
    return client.predict("Capital of France?", ["Madrid", "Paris"])


both_forms = pytest.mark.parametrize("form", ["sync", "async"])
