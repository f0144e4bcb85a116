"""When the client retries, how long it waits, and what it finally raises."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.client.scripted_service import NOW, ONCE, PREDICTION, PROBLEM, Script, both_forms, predict, refusal
from uq4ct.client import (
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    Prediction,
    Problem,
    Retries,
    ServiceError,
    ServiceFailedError,
    UnavailableError,
    UnreachableError,
)
from uq4ct.service.client.retries import read_retry_after


@both_forms
def test_retries_use_the_same_idempotency_key(form: str) -> None:
    script = Script(
        refusal(429, **{"retry-after": "3"}),
        httpx2.ConnectError("refused"),
        httpx2.ReadTimeout("slow"),
        refusal(503),
        httpx2.Response(200, json=PREDICTION),
    )
    answer = script.run(form, predict, retries=Retries(attempts=5), api_key="secret")
    assert answer.option.text == "Paris"
    assert script.waits == [3.0, 1.0, 2.0, 4.0]
    keys = {body.pop("idempotency_key") for body in script.bodies}
    assert len(keys) == 1
    assert len(keys.pop()) >= 32
    assert {str(request.url) for request in script.requests} == {"http://service/prefix/predict"}
    assert {request.headers["authorization"] for request in script.requests} == {"Bearer secret"}


@both_forms
def test_every_prediction_has_its_own_key(form: str) -> None:
    results = {"results": [PREDICTION, PROBLEM]}
    script = Script(refusal(503), httpx2.Response(200, json=results))
    asks: Sequence[Any] = [{"question": "a", "options": ("x", "y"), "tags": ["t"]}, {"question": "b", "options": ["x"]}]
    first, second = script.run(form, lambda client: client.predict_batch(asks))
    assert isinstance(first, Prediction)
    assert isinstance(second, Problem)
    one, other = script.bodies
    assert one == other
    assert len({item["idempotency_key"] for item in one["questions"]}) == 2
    assert [item["options"] for item in one["questions"]] == [["x", "y"], ["x"]]


@both_forms
def test_a_callers_key_is_kept_and_a_client_with_one_attempt_sends_none(form: str) -> None:
    script = Script(*(httpx2.Response(200, json=PREDICTION) for _ in range(2)))
    script.run(form, lambda client: client.predict("q", ["a", "b"], idempotency_key="mine", coverage=0.9))
    assert script.bodies == [{"question": "q", "options": ["a", "b"], "idempotency_key": "mine", "coverage": 0.9}]
    script.run(form, lambda client: client.predict("q", ["a", "b"]), retries=ONCE)
    assert script.bodies[1] == {"question": "q", "options": ["a", "b"]}


@both_forms
def test_one_text_is_not_taken_for_a_list_of_options(form: str) -> None:
    with pytest.raises(TypeError, match="got the single text 'ab'"):
        Script().run(form, lambda client: client.predict("q", "ab"))


@both_forms
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, NotAllowedError),
        (403, NotAllowedError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, NotFoundError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (500, ServiceFailedError),
        (502, ServiceFailedError),
        (504, UnavailableError),
    ],
)
def test_errors_that_a_retry_cannot_fix_are_not_retried(form: str, status: int, kind: type[ServiceError]) -> None:
    script = Script(refusal(status, **{"retry-after": "1"}))
    with pytest.raises(kind, match=f"{status} Title: detail") as raised:
        script.run(form, predict)
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert raised.value.problem is not None
    assert raised.value.problem.status == status
    assert script.waits == []


@both_forms
def test_the_last_error_is_raised(form: str) -> None:
    with pytest.raises(UnavailableError, match="429"):
        Script(refusal(503), refusal(429)).run(form, predict, retries=Retries(attempts=2))
    with pytest.raises(UnreachableError, match="no response after 2 attempts: ConnectError") as raised:
        Script(refusal(503), httpx2.ConnectError("refused")).run(form, predict, retries=Retries(attempts=2))
    assert isinstance(raised.value.__cause__, httpx2.ConnectError)
    with pytest.raises(UnavailableError, match="503 without a problem document") as proxied:
        Script(httpx2.Response(503, html="<h1>no</h1>")).run(form, predict, retries=ONCE)
    assert proxied.value.problem is None


STATUSES = st.sampled_from([429, 503])
OUTCOMES = st.lists(st.tuples(STATUSES, st.none() | st.integers(0, 90)) | st.just("refused"), max_size=8)


@given(OUTCOMES, st.integers(1, 6), st.floats(0.01, 2), st.floats(2, 60), st.floats(0, 1, exclude_max=True))
def test_tries_and_waits_are_bounded_and_never_shorter_than_asked(
    failures: list[Any], attempts: int, first: float, longest: float, chance: float
) -> None:
    outcomes = [
        httpx2.ConnectError("refused")
        if failure == "refused"
        else refusal(failure[0], **({} if failure[1] is None else {"retry-after": str(failure[1])}))
        for failure in failures
    ]
    asked = [0 if failure == "refused" else failure[1] or 0 for failure in failures]
    script = Script(*outcomes, httpx2.Response(200, json=PREDICTION))
    hopeless = next((index for index, seconds in enumerate(asked) if seconds > longest), len(asked))
    answers = len(failures) < attempts and hopeless == len(asked)
    try:
        script.run("sync", predict, retries=Retries(attempts, first, longest), chance=lambda: chance)
    except (UnavailableError, UnreachableError):
        assert not answers
        assert len(script.requests) == min(attempts, hopeless + 1)
    else:
        assert answers
        assert len(script.requests) == len(failures) + 1
    assert len(script.waits) == len(script.requests) - 1
    for index, wait in enumerate(script.waits):
        least = max(asked[index], min(first * 2**index, longest))
        assert wait == pytest.approx(least * (1 + 0.25 * chance))
        assert least <= wait <= 1.25 * longest


@given(st.integers(-(10**6), 10**6))
def test_a_retry_after_may_be_a_date(seconds: int) -> None:
    date = datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert read_retry_after(httpx2.Response(503, headers={"retry-after": date}), NOW) == max(seconds, 0)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "٣", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    response = httpx2.Response(503, headers=[(b"retry-after", value.encode())])
    assert read_retry_after(response, NOW) is None


def test_a_retry_after_of_many_digits_is_long() -> None:
    seconds = read_retry_after(httpx2.Response(503, headers={"retry-after": "9" * 5000}), NOW)
    assert Retries().wait_after(1, seconds, 0.0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 101},
        {"attempts": 2.5},
        {"attempts": "3"},
        {"first_wait": 0},
        {"first_wait": "1"},
        {"longest_wait": 0.1},
        {"longest_wait": None},
        {"longest_wait": float("inf")},
    ],
)
def test_invalid_retries_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError, match=rf"{next(iter(wrong))}.*: must be .*got"):
        Retries(**wrong)
