"""Batches of any size: in chunks that the service accepts, several at a time, with the results in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from tests.service.client.echo_service import EchoService, too_large
from tests.service.client.scripted_service import ONCE, PREDICTION, PROBLEM, Script, both_forms, refusal
from tests.service.conftest import Start
from tests.service.listening import on_a_socket
from uq4ct.client import (
    AsyncClient,
    Client,
    InvalidRequestError,
    NotAllowedError,
    Prediction,
    Problem,
    Retries,
    UnavailableError,
    UnreadableResponseError,
)

pytestmark = pytest.mark.anyio


def asks(count: int) -> list[Any]:
    return [{"question": str(number), "options": ["a", "b"]} for number in range(count)]


def ids(results: list[Any]) -> list[str]:
    return [result.prediction_id for result in results]


async def test_a_hundred_questions_and_labels_are_answered_in_order(start: Start) -> None:
    def ask(address: str) -> tuple[list[Any], list[Any]]:
        with Client(address) as client:
            answers: list[Any] = client.predict_batch(asks(100))
            labels: Any = [{"prediction_id": answer.prediction_id, "answer": "A"} for answer in answers]
            return answers, client.feedback_batch(labels)

    async with start(max_client_batch_size=30) as replica, on_a_socket(replica) as address:
        answers, receipts = await asyncio.to_thread(ask, address)
        async with AsyncClient("http://localhost", transport=httpx2.ASGITransport(replica.app)) as client:
            again: list[Any] = await client.predict_batch(asks(100))
            one_by_one = [await client.predict(**one) for one in asks(100)]
    assert [answer.probabilities for answer in answers] == [answer.probabilities for answer in one_by_one]
    assert [answer.probabilities for answer in again] == [answer.probabilities for answer in one_by_one]
    assert [receipt.result for receipt in receipts] == ["accepted"] * 100


@both_forms
@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_results_are_in_order_and_progress_is_told(form: str, concurrency: int) -> None:
    service, told = EchoService(), list[tuple[int, int]]()

    def call(client: Any) -> Any:
        return client.predict_batch(asks(150), concurrency=concurrency, progress=lambda *now: told.append(now))

    assert ids(Script().run(form, call, **service.settings)) == [str(number) for number in range(150)]
    assert sorted(service.sizes) == [22, 64, 64]
    assert told == [(64, 150), (128, 150), (150, 150)]


@both_forms
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_any_iterable_is_a_batch_and_an_empty_one_sends_nothing(form: str, kind: Callable[[Any], Any]) -> None:
    service = EchoService()
    labels = [{"prediction_id": str(number), "answer": 0} for number in range(3)]
    assert ids(Script().run(form, lambda client: client.predict_batch(kind(asks(3))), **service.settings)) == [*"012"]
    assert ids(Script().run(form, lambda client: client.feedback_batch(kind(labels)), **service.settings)) == [*"012"]
    assert Script().run(form, lambda client: client.predict_batch(kind([])), **service.settings) == []
    assert service.sizes == [3, 3]


@both_forms
def test_a_smaller_limit_of_the_service_is_learnt_from_its_413(form: str) -> None:
    service = EchoService(limit=10)

    def call(client: Any) -> Any:
        return client.predict_batch(asks(128), concurrency=1)

    assert ids(Script().run(form, call, **service.settings)) == [str(number) for number in range(128)]
    assert [size for size in service.sizes if size > 10] == [64], "only the first chunk is rejected"
    assert sum(size for size in service.sizes if size <= 10) == 128


@both_forms
def test_a_question_that_is_too_large_alone_is_a_problem_in_its_place(form: str) -> None:
    service = EchoService(judge=lambda texts: too_large(limit=2_000_000) if "5" in texts else None)
    results = Script().run(form, lambda client: client.predict_batch(asks(9)), **service.settings)
    assert isinstance(results[5], Problem)
    assert (results[5].status, results[5].limit) == (413, 2_000_000)
    assert ids(results[:5] + results[6:]) == [*"01234678"]


@both_forms
def test_a_413_without_a_problem_is_an_error_once_the_question_is_alone(form: str) -> None:
    service = EchoService(judge=lambda texts: httpx2.Response(413, html="nginx") if "1" in texts else None)
    with pytest.raises(InvalidRequestError, match="413 without a problem document"):
        Script().run(form, lambda client: client.predict_batch(asks(4)), **service.settings)
    assert service.sizes == [4, 2, 1, 1]


@both_forms
def test_each_chunk_has_its_own_retries(form: str) -> None:
    seen = set[str]()

    def judge(texts: list[str]) -> httpx2.Response | None:
        if texts[0] in seen:
            return None
        seen.add(texts[0])
        return refusal(503, **{"retry-after": "2"})

    script, service = Script(), EchoService(judge=judge)
    results = script.run(
        form, lambda client: client.predict_batch(asks(128)), retries=Retries(attempts=2), **service.settings
    )
    assert ids(results) == [str(number) for number in range(128)]
    assert script.waits == [2.0, 2.0]


@both_forms
def test_an_error_of_a_chunk_ends_the_batch(form: str) -> None:
    service = EchoService(judge=lambda texts: refusal(401) if "70" in texts else None)
    with pytest.raises(NotAllowedError, match="401"):
        Script().run(form, lambda client: client.predict_batch(asks(1000), concurrency=2), **service.settings)
    assert len(service.sizes) <= 4


@both_forms
def test_questions_that_others_have_delayed_are_asked_again(form: str) -> None:
    late = [PROBLEM | {"status": status} for status in (503, 504, 429)]
    wrong = PROBLEM | {"status": 422}
    script = Script(
        httpx2.Response(200, json={"results": [PREDICTION, *late, wrong]}),
        httpx2.Response(200, json={"results": [PREDICTION, late[1], PREDICTION]}),
        httpx2.Response(200, json={"results": [late[2]]}),
    )
    results = script.run(form, lambda client: client.predict_batch(asks(5)), retries=Retries(attempts=3))
    assert [getattr(result, "status", 200) for result in results] == [200, 200, 429, 200, 422]
    assert [[item["question"] for item in body["questions"]] for body in script.bodies] == [[*"01234"], [*"123"], ["2"]]
    assert [body["questions"][-1]["idempotency_key"] for body in script.bodies[1:]] == [
        script.bodies[0]["questions"][3]["idempotency_key"], script.bodies[0]["questions"][2]["idempotency_key"],
    ]  # fmt: skip
    assert script.waits == [0.5, 1.0]


@both_forms
def test_a_response_with_another_number_of_results_is_unreadable(form: str) -> None:
    script = Script(httpx2.Response(200, json={"results": [PREDICTION]}))
    with pytest.raises(UnreadableResponseError, match="/predict/batch: 1 results for 2 items"):
        script.run(form, lambda client: client.predict_batch(asks(2)), retries=ONCE)


async def test_no_more_chunks_run_at_a_time_than_asked() -> None:
    running = most = 0

    async def handle(request: httpx2.Request) -> httpx2.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return EchoService().handle(request)

    async with AsyncClient("http://service", transport=httpx2.MockTransport(handle)) as client:
        assert len(await client.predict_batch(asks(640), concurrency=3)) == 640
    assert most == 3


def test_chunks_of_the_sync_client_run_in_threads_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=20)  # is passed only if four requests wait in it

    def handle(request: httpx2.Request) -> httpx2.Response:
        together.wait()
        return EchoService().handle(request)

    with Client("http://service", transport=httpx2.MockTransport(handle)) as client:
        assert len(client.predict_batch(asks(256))) == 256


def test_questions_may_come_from_a_generator() -> None:
    def generate() -> Iterator[Any]:
        yield {"question": "0", "options": (option for option in "ab")}

    service = EchoService()
    with Client("http://service", **service.settings) as client:
        (answer,) = client.predict_batch(generate())
    assert isinstance(answer, Prediction)


def test_an_unavailable_service_is_an_error_of_the_batch() -> None:
    with pytest.raises(UnavailableError, match="503"):
        Script(refusal(503)).run("sync", lambda client: client.predict_batch(asks(2)), retries=ONCE)
