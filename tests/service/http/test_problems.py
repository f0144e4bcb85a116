"""Every status code that is not 200, with its problem document."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.service.conftest import Replica, Start
from tests.service.fake_predictor import FakePredictor
from tests.service.problem_documents import QUESTION, problem

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "empty"),
        (b"{", "character 1"),
        (b'{"question": "a", "question": "b"}', "duplicate key 'question'"),
        (b'{"question": NaN}', "NaN is not a JSON value"),
        (b'{"question": -Infinity}', "-Infinity is not"),
        (b'{"question": "\xff"}', "byte 14 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 5000, "too many digits"),
        (b"\xef\xbb\xbf{}", "BOM"),
    ],
)
async def test_400_malformed_json(start: Start, body: bytes, detail: str) -> None:
    async with start() as replica:
        for path in ("/predict", "/predict/batch"):
            response = await replica.client.post(path, content=body, headers=JSON)
            assert detail in problem(response, 400, "malformed-json")["detail"]


async def test_404_and_405_from_the_router(start: Start) -> None:
    async with start() as replica:
        problem(await replica.client.get("/nowhere"), 404, "not-found")
        response = await replica.client.get("/predict")
        problem(response, 405, "method-not-allowed")
        assert response.headers["allow"] == "POST"
        assert replica.sample("requests_total", route="unmatched", code="404") == 1
        assert replica.sample("requests_total", route="/predict", code="405") == 1


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("nobody", "unknown-model"),
        ("toy@9", "unknown-model"),
        ("toy@_", "unknown-model"),
        ("toy@01", "unknown-model"),
        ("toy@nothing", "unknown-model"),
    ],
)
async def test_404_model(start: Start, model: str, slug: str) -> None:
    async with start() as replica:
        assert model in problem(await replica.ask(model=model), 404, slug)["detail"]


async def test_413_body_measured_on_the_stream(start: Start) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * 100

    async with start(payload_limit=1000) as replica:
        response = await replica.client.post("/predict", content=chunks(), headers=JSON)
        assert problem(response, 413, "too-large")["limit"] == 1000
        problem(await replica.client.post("/predict", content=b" " * 1001, headers=JSON), 413, "too-large")
        body = json.dumps(QUESTION).encode()
        assert (await replica.client.post("/predict", content=body.ljust(1000), headers=JSON)).status_code == 200


async def test_413_batch(start: Start) -> None:
    async with start(max_client_batch_size=2) as replica:
        response = await replica.client.post("/predict/batch", json={"questions": [QUESTION] * 3})
        assert problem(response, 413, "too-large")["limit"] == 2


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense", "é"])
async def test_415_content_type(start: Start, content_type: str | None) -> None:
    headers = [] if content_type is None else [(b"content-type", content_type.encode("latin-1"))]
    async with start() as replica:
        request = replica.client.build_request("POST", "/predict", content=json.dumps(QUESTION), headers=headers)
        problem(await replica.client.send(request), 415, "unsupported-media-type")
        good = await replica.client.post(
            "/predict", content=json.dumps(QUESTION), headers={"content-type": "application/json; charset=utf-8"}
        )
        assert good.status_code == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"question": " \n"}, "question"),
        ({"question": None}, "question"),
        ({"question": 3}, "question"),
        ({"question": "\ud800"}, "question"),
        ({"context": 1}, "context"),
        ({"options": ["one"]}, "options"),
        ({"options": [str(n) for n in range(27)]}, "options"),
        ({"options": "ab"}, "options"),
        ({"options": ["a", 1]}, "options.1"),
        ({"options": ["a", "\udfff"]}, "options.1"),
        ({"options": ["a", "\u200b"]}, "options.1"),
        ({"options": ["a", " a\t"]}, "options.1"),
        ({"model": "../../etc"}, "model"),
        ({"model": 1}, "model"),
        ({"sure": True}, "sure"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"tags": ["a\nb"]}, "tags.0"),
        ({"task": "x" * 65}, "task"),
        ({"\udc00": 1}, "body"),
    ],
)
async def test_422_names_the_field(start: Start, changes: dict[str, Any], field: str) -> None:
    async with start() as replica:
        body = json.dumps(QUESTION | changes)
        single = await replica.client.post("/predict", content=body, headers=JSON)
        batch = await replica.client.post("/predict/batch", content=f'{{"questions": [{body}]}}', headers=JSON)
    document = problem(single, 422, "invalid-field")
    assert [error["field"] for error in document["errors"]] == [field]
    assert document["errors"][0]["message"] in document["detail"]
    assert batch.json()["results"][0]["errors"] == document["errors"]


@pytest.mark.parametrize("missing", ["question", "options"])
async def test_422_missing_field(start: Start, missing: str) -> None:
    body = {key: value for key, value in QUESTION.items() if key != missing}
    async with start() as replica:
        document = problem(await replica.client.post("/predict", json=body), 422, "invalid-field")
    assert [error["field"] for error in document["errors"]] == [missing]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"questions": []}, "questions"),
        ({}, "questions"),
        ({"questions": {}}, "questions"),
        ([], "body"),
        (None, "body"),
    ],
)
async def test_422_malformed_envelope_fails_whole(start: Start, body: object, field: str) -> None:
    async with start() as replica:
        response = await replica.client.post("/predict/batch", content=json.dumps(body), headers=JSON)
        document = problem(response, 422, "invalid-field")
    assert document["errors"][0]["field"] == field


async def test_422_too_long_says_both_counts(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        document = problem(await replica.ask("word " * 63), 422, "question-too-long")
        assert (document["tokens"], document["limit"]) == (65, 64)
        assert replica.sample("rejected_total", reason="question_too_long") == 1
    assert predictor.served_texts() == []


def admitted_questions(replica: Replica, predictor: FakePredictor) -> float:
    """Return the number of questions that are queued or have reached a forward pass."""
    return sum(map(len, predictor.served_texts())) + (replica.sample("queue_depth") or 0)


async def test_429_when_the_queue_is_full(start: Start, predictor: FakePredictor) -> None:
    async with start(max_concurrent_requests=2, max_client_batch_size=2) as replica:
        predictor.forward_may_start.clear()
        admitted = [asyncio.create_task(replica.ask(f"q{n}")) for n in range(2)]
        await replica.settle(lambda: admitted_questions(replica, predictor) == 2)
        response = await replica.ask("one too many")
        assert problem(response, 429, "queue-full")["limit"] == 2
        assert 1 <= int(response.headers["retry-after"]) <= 60
        unread = await replica.client.post("/predict/batch", content=b"{", headers=JSON)
        problem(unread, 429, "queue-full")
        assert replica.sample("rejected_total", reason="queue_full") == 2
        assert (await replica.client.get("/health/live")).status_code == 200
        predictor.forward_may_start.set()
        assert [response.status_code for response in await asyncio.gather(*admitted)] == [200, 200]
        assert (await replica.ask("now there is room")).status_code == 200


async def test_429_when_there_is_no_room_for_all_of_a_batch(start: Start, predictor: FakePredictor) -> None:
    async with start(max_concurrent_requests=2, max_client_batch_size=2) as replica:
        predictor.forward_may_start.clear()
        admitted = asyncio.create_task(replica.ask("one"))
        await replica.settle(lambda: admitted_questions(replica, predictor) == 1)
        batch = await replica.client.post("/predict/batch", json={"questions": [QUESTION, QUESTION]})
        problem(batch, 429, "queue-full")
        assert replica.sample("rejected_total", reason="queue_full") == 2
        predictor.forward_may_start.set()
        assert (await admitted).status_code == 200


async def test_500_when_the_forward_raises_and_then_200(
    start: Start, predictor: FakePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as replica:
        predictor.failures_to_come = 1
        response = await replica.ask("my secret")
        problem(response, 500, "forward-failed")
        assert "my secret" not in response.text + caplog.text
        assert (await replica.ask("my secret")).status_code == 200


async def test_500_when_something_unexpected_raises(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    async with start() as replica:
        response = await replica.ask("break the tokenizer")
        problem(response, 500, "internal-error")
        assert "secret text" not in response.text


async def test_500_when_a_route_raises(start: Start, adapters: Any) -> None:
    async with start() as replica:
        replica.context.adapters = None  # type: ignore[assignment]  # an unexpected fault
        problem(await replica.client.get("/models"), 500, "internal-error")
        assert replica.sample("requests_total", route="/models", code="500") == 1


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback", "/models/toy/promote"])
@pytest.mark.parametrize("failing", ["json.loads", "uq4ct.service.http.strict_json.read_body"])
async def test_503_when_there_is_no_memory_for_the_body(
    path: str, failing: str, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as replica:
        monkeypatch.setattr(failing, _run_out_of_memory)
        response = await replica.client.post(path, content=b"{}", headers=JSON)
        monkeypatch.undo()
        assert response.headers["retry-after"] == "1"
        problem(response, 503, "out-of-memory")
        assert replica.sample("requests_total", route=path.replace("toy", "{name}"), code="503") == 1
    (entry,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert isinstance(entry.exc_info[1] if entry.exc_info else None, MemoryError)


@pytest.mark.parametrize("failing", ["json.loads", "uq4ct.service.http.strict_json.read_body"])
async def test_503_when_there_is_no_memory_for_a_body_of_the_protocol(
    failing: str, start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as replica:
        monkeypatch.setattr(failing, _run_out_of_memory)
        response = await replica.client.post("/v2/models/toy/infer", content=b"{}", headers=JSON)
        monkeypatch.undo()
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"error": "the request needs more memory than is free"}
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == ["out of memory"]


async def test_503_when_a_route_runs_out_of_memory(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    async with start() as replica:
        monkeypatch.setattr(replica.context.adapters, "survey", _run_out_of_memory)
        problem(await replica.client.get("/models"), 503, "out-of-memory")


def _run_out_of_memory(*_: Any, **__: Any) -> Any:
    raise MemoryError


async def test_503_before_loading_and_while_draining(start: Start, predictor: FakePredictor) -> None:
    predictor.forward_may_start.clear()  # blocks the warm-up
    async with start(wait=False) as replica:
        for response in (await replica.ask(), await replica.client.get("/health/ready")):
            problem(response, 503, "not-ready")
            assert response.headers["retry-after"] == "1"
        assert (await replica.client.get("/health/live")).json() == {"status": "live"}
        predictor.forward_may_start.set()
        await replica.context.ledger.wait_until_opened()
        await replica.context.engine.wait_until_loaded()
        ready = await replica.client.get("/health/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "model": "toy@1"})
        replica.context.engine.leave()
        problem(await replica.client.get("/health/ready"), 503, "draining")
        assert (await replica.ask()).status_code == 200  # the load balancer may not have noticed yet
        await replica.context.engine.drain()
        response = await replica.ask()
        problem(response, 503, "draining")
        assert response.headers["connection"] == "close"
        assert replica.sample("rejected_total", reason="not_ready") == 1
        assert replica.sample("rejected_total", reason="draining") == 1


async def test_503_when_loading_failed(start: Start) -> None:
    def load() -> FakePredictor:
        raise OSError("/srv/weights/secret-place: no such file")

    async with start(load=load, wait=False) as replica:
        with pytest.raises(OSError, match="no such file"):
            await replica.context.engine.wait_until_loaded()
        response = await replica.client.get("/health/ready")
        problem(response, 503, "not-ready")
        assert "secret-place" not in response.text
        problem(await replica.ask(), 503, "not-ready")


async def test_a_disconnected_client_costs_no_forward(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        predictor.forward_may_start.clear()
        first = asyncio.create_task(replica.ask("first"))
        await replica.settle(predictor.served_texts)
        await _ask_and_hang_up(replica)
        assert replica.sample("rejected_total", reason="client_gone") == 1
        assert replica.sample("requests_total", route="/predict", code="499") == 1
        assert replica.sample("queue_depth") == 0
        predictor.forward_may_start.set()
        await first
        await replica.ask("last")
    assert predictor.served_texts() == [["first"], ["last"]]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/toy/infer"])
async def test_a_client_that_disconnects_during_its_body_is_not_a_failure(
    path: str, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    async with start() as replica:
        await _ask_and_hang_up(replica, path, whole=False)
        template = path.replace("toy", "{name}")
        assert replica.sample("requests_total", route=template, code="499") == 1
        assert replica.sample("requests_total", route=template, code="500") is None
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("/predict", lambda n: {"question": "q", "options": [1] * n}),
        ("/predict", lambda n: QUESTION | {f"k{i}": 0 for i in range(n // 4)}),
        ("/predict/batch", lambda n: {"questions": [QUESTION | {f"k{i}": 0 for i in range(n // 4)}]}),
        ("/predict/batch", lambda n: {"questions": [{"question": "q", "options": [1] * n}]}),
        ("/predict", lambda n: QUESTION | {"tags": [1] * n}),
        ("/feedback", lambda n: {f"k{i}": 0 for i in range(n // 4)}),
        ("/v2/models/toy/infer", lambda n: {"inputs": [1] * n}),
        ("/v2/models/toy/infer", lambda n: {"inputs": [{"name": "question", "data": [1] * n}]}),
        ("/v2/models/toy/infer", lambda n: {"inputs": [], "outputs": [1] * n}),
    ],
)
async def test_a_long_body_of_mistakes_does_not_block_the_loop(
    path: str, made: Callable[[int], Any], start: Start
) -> None:
    """Not every mistake gets its own error: two million of them would block the event loop for seconds."""
    body = json.dumps(made(500_000)).encode()
    assert len(body) > 1_400_000
    async with start(payload_limit=4_000_000) as replica:
        started = time.process_time()
        response = await replica.client.post(path, content=body, headers=JSON)
        seconds = time.process_time() - started
        assert response.status_code in (200, 422), response.text
        assert len(response.content) < 10_000
        assert seconds < 1.0


async def _ask_and_hang_up(replica: Replica, path: str = "/predict", *, whole: bool = True) -> None:
    """Send an ASGI request to the app; disconnect once the question is queued or, if not `whole`, within the body."""
    body = json.dumps({"question": "gone", "options": ["a", "b"]}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": not whole}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        if whole:
            await replica.settle(lambda: replica.sample("queue_depth") == 1)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await replica.app(scope, receive, send)
