"""A service without a network that answers batches of any text."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx2

from tests.service.client.scripted_service import PREDICTION, PROBLEM

Judge = Callable[[list[str]], httpx2.Response | None]  # a response other than the answers to these questions


class EchoService:
    """Answers each question with its own text as `prediction_id`, in batches up to a limit; thread-safe."""

    def __init__(self, limit: int = 64, judge: Judge = lambda texts: None) -> None:
        self.limit = limit
        self.judge = judge
        self.items: list[list[dict[str, Any]]] = []
        self.lock = threading.Lock()

    def handle(self, request: httpx2.Request) -> httpx2.Response:
        (items,) = json.loads(request.content).values()
        with self.lock:
            self.items.append(items)
        if len(items) > self.limit:
            return too_large(limit=self.limit)
        texts = [item.get("question", item.get("prediction_id")) for item in items]
        return self.judge(texts) or httpx2.Response(200, json={"results": [result_of(item) for item in items]})

    @property
    def sizes(self) -> list[int]:
        return [len(items) for items in self.items]

    @property
    def settings(self) -> dict[str, Any]:
        return {"transport": httpx2.MockTransport(self.handle)}


def too_large(**fields: int) -> httpx2.Response:
    return httpx2.Response(413, json=PROBLEM | {"status": 413} | fields)


def result_of(item: dict[str, Any]) -> dict[str, Any]:
    if "answer" in item:
        return {"prediction_id": item["prediction_id"], "result": "accepted"}
    return PREDICTION | {"prediction_id": item["question"]}
