"""The client in both of its forms: against the service, and against a transport that fails as it is told."""

from __future__ import annotations

import asyncio
import datetime
import json
import subprocess
import sys
import types
import typing
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from service import client_records, schemas
from service.client import (
    Answered,
    AsyncClient,
    Client,
    ConflictError,
    Declined,
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
    UnreadableResponseError,
)
from service.client_retries import read_retry_after
from tests.service.conftest import Replica, Start
from tests.service.fake_predictor import FakePredictor

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
NOW = 1_800_000_000.0
ONCE = Retries(attempts=1)
PROBLEM = {
    "type": "urn:uq4ct:problem:any", "title": "Title", "status": 0, "detail": "detail", "request_id": "r", "errors": [],
}  # fmt: skip
PREDICTION: dict[str, Any] = {
    "prediction_id": "01a20138-8e1d-764c-934a-0817e5ea3e61",
    "model": "toy@1",
    "method": "uq4ct",
    "option": {"index": 1, "label": "B", "text": "Paris"},
    "confidence": 0.75,
    "probabilities": [{"label": "A", "probability": 0.25}, {"label": "B", "probability": 0.75}],
    "feu": None,
    "uncertainty": {"total": 0.5, "aleatoric": None, "epistemic": None},
    "abstain": False,
    "a_field_of_a_newer_service": 1,
}


def refusal(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(
        status, json=PROBLEM | {"status": status}, headers={"content-type": "application/problem+json", **headers}
    )


class Script:
    """What a service says to one try after the other, the requests it got, and the waits in between."""

    def __init__(self, *outcomes: httpx.Response | Exception) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[httpx.Request] = []
        self.waits: list[float] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome.status_code, headers=outcome.headers, content=outcome.content)

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def run(self, form: str, call: Callable[[Any], Any], **settings: Any) -> Any:
        """The call made by a client of the form, `sync` or `async`."""
        fixed = {"transport": httpx.MockTransport(self.handle), "clock": lambda: NOW, "chance": lambda: 0.0, **settings}
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


def test_the_client_needs_only_httpx_and_pydantic() -> None:
    code = "import sys, service.client; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"httpx", "pydantic", "service"} <= loaded
    assert not loaded & {"torch", "numpy", "transformers", "model_store", "fastapi", "starlette", "prometheus_client"}


# Fields of the contract that the client reads already and this version of the service does not send yet.
NOT_SENT_YET = {"Prediction": {"abstain", "abstain_reason", "threshold", "prediction_set", "coverage"}}
# Records of /feedback, /predictions and /calibration.
ROUTES_NOT_THERE_YET = {
    "FeedbackReceipt", "OptionPosition", "StoredLabel", "StoredPrediction", "CalibrationBin", "Interval", "NoiseFloor",
    "LabelledScores", "CalibrationCohort", "Calibration",
}  # fmt: skip
PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (client_records.Prediction, schemas.PredictResponse),
    (client_records.Option, schemas.Option),
    (client_records.LabelProbability, schemas.LabelProbability),
    (client_records.Uncertainty, schemas.Uncertainty),
    (client_records.Problem, schemas.Problem),
    (client_records.FieldError, schemas.FieldError),
    (client_records.Base, schemas.Base),
    (client_records.ModelCard, schemas.ModelCard),
]


def plain(annotation: Any) -> Any:
    """A type without constraints; a record of the service as that of the client, or as a dictionary without one."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return plain(arguments[0])
    if origin in (typing.Union, types.UnionType):
        kinds = frozenset(plain(argument) for argument in arguments)
        return kinds if len(kinds) > 1 else next(iter(kinds))
    if origin is list:
        return ("list", plain(arguments[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return next((ours for ours, theirs in PAIRS if annotation in (ours, theirs)), dict)
    return origin or annotation


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_client_reads_what_the_service_sends(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    read = {name: plain(field.annotation) for name, field in ours.model_fields.items()}
    sent = {name: plain(field.annotation) for name, field in theirs.model_fields.items()}
    later = NOT_SENT_YET.get(ours.__name__, set())
    assert {name: kind for name, kind in read.items() if name not in later} == sent
    assert all(not ours.model_fields[name].is_required() for name in later)


def test_every_record_of_the_client_is_one_of_the_service() -> None:
    records = {
        value
        for value in vars(client_records).values()
        if isinstance(value, type) and issubclass(value, client_records.Record) and value is not client_records.Record
    }
    assert {record.__name__ for record in records} == {ours.__name__ for ours, _ in PAIRS} | ROUTES_NOT_THERE_YET


@asynccontextmanager
async def listening(replica: Replica) -> AsyncIterator[str]:
    """The replica behind a socket."""
    config = uvicorn.Config(replica.app, port=0, lifespan="off", ws="none", log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await replica.settle(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


async def test_sync_over_a_socket_and_async_on_the_app_say_the_same(start: Start) -> None:
    def ask(address: str) -> tuple[Prediction, list[Any], list[Any]]:
        with Client(address, retries=ONCE) as client:
            batch = client.predict_batch(
                [{"question": "Which?", "options": ("a", "b")}, {"question": "", "options": []}]
            )
            return client.predict("Which?", ("a", "b"), context="A passage.", model="toy"), batch, client.models()

    async with start() as replica, listening(replica) as address:
        single, (first, second), models = await asyncio.to_thread(ask, address)
        transport = httpx.ASGITransport(replica.app)
        async with AsyncClient("http://service", transport=transport, retries=ONCE) as client:
            again = await client.predict("Which?", ("a", "b"), context="A passage.", model="toy")
            assert await client.models() == models
    assert single.model_copy(update={"prediction_id": again.prediction_id}) == again
    assert (single.model, single.option.text in ("a", "b"), single.abstain) == ("toy@1", True, False)
    assert isinstance(first, Prediction)
    assert isinstance(second, Problem)
    assert second.errors[0].field == "question"
    assert {(card.name, card.version) for card in models} == {("toy", 1), ("toy", 2), ("other", 1)}


async def test_the_service_s_problems_are_typed(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        transport = httpx.ASGITransport(replica.app)
        async with AsyncClient("http://service", transport=transport, retries=ONCE) as client:
            with pytest.raises(InvalidRequestError, match=r"422 .*: question: is empty") as invalid:
                await client.predict(" ", ("a", "b"))
            assert invalid.value.problem is not None
            assert [error.field for error in invalid.value.problem.errors] == ["question"]
            with pytest.raises(InvalidRequestError) as long:
                await client.predict("word " * 63, ("a", "b"))
            assert long.value.problem is not None
            assert (long.value.problem.tokens, long.value.problem.limit) == (65, 64)
            with pytest.raises(NotFoundError, match="nobody"):
                await client.predict("Which?", ("a", "b"), model="nobody")
            predictor.failures_to_come = 1
            with pytest.raises(ServiceFailedError):
                await client.predict("Which?", ("a", "b"))


@both_forms
def test_a_try_that_failed_is_made_again_under_the_same_key(form: str) -> None:
    script = Script(
        refusal(429, **{"retry-after": "3"}),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        refusal(503),
        httpx.Response(200, json=PREDICTION),
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
def test_every_prediction_has_a_key_of_its_own(form: str) -> None:
    results = {"results": [PREDICTION, PROBLEM]}
    script = Script(refusal(503), httpx.Response(200, json=results))
    asks: Sequence[Any] = [{"question": "a", "options": ("x", "y"), "tags": ["t"]}, {"question": "b", "options": ["x"]}]
    first, second = script.run(form, lambda client: client.predict_batch(asks))
    assert isinstance(first, Prediction)
    assert isinstance(second, Problem)
    one, other = script.bodies
    assert one == other
    assert len({item["idempotency_key"] for item in one["questions"]}) == 2
    assert [item["options"] for item in one["questions"]] == [["x", "y"], ["x"]]


@both_forms
def test_a_key_of_the_caller_is_kept_and_a_client_that_tries_once_sends_none(form: str) -> None:
    script = Script(*(httpx.Response(200, json=PREDICTION) for _ in range(2)))
    script.run(form, lambda client: client.predict("q", ["a", "b"], idempotency_key="mine", coverage=0.9))
    assert script.bodies == [{"question": "q", "options": ["a", "b"], "idempotency_key": "mine", "coverage": 0.9}]
    script.run(form, lambda client: client.predict("q", ["a", "b"]), retries=ONCE)
    assert script.bodies[1] == {"question": "q", "options": ["a", "b"]}


@both_forms
def test_one_text_is_not_taken_for_a_list_of_options(form: str) -> None:
    with pytest.raises(TypeError, match="not the one text 'ab'"):
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
def test_what_no_second_try_mends_is_tried_once(form: str, status: int, kind: type[ServiceError]) -> None:
    script = Script(refusal(status, **{"retry-after": "1"}))
    with pytest.raises(kind, match=f"{status} Title: detail") as raised:
        script.run(form, predict)
    assert type(raised.value) is kind
    assert raised.value.status == status
    assert raised.value.problem is not None
    assert raised.value.problem.status == status
    assert script.waits == []


@both_forms
def test_the_last_refusal_is_what_is_raised(form: str) -> None:
    with pytest.raises(UnavailableError, match="429"):
        Script(refusal(503), refusal(429)).run(form, predict, retries=Retries(attempts=2))
    with pytest.raises(UnreachableError, match="no response in 2 tries: ConnectError") as raised:
        Script(refusal(503), httpx.ConnectError("refused")).run(form, predict, retries=Retries(attempts=2))
    assert isinstance(raised.value.__cause__, httpx.ConnectError)
    with pytest.raises(UnavailableError, match="503 without a problem") as proxied:
        Script(httpx.Response(503, html="<h1>no</h1>")).run(form, predict, retries=ONCE)
    assert proxied.value.problem is None


@both_forms
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"prediction_id": "x"}'])
def test_a_success_that_is_not_an_answer(form: str, body: bytes) -> None:
    with pytest.raises(UnreadableResponseError, match="/prefix/predict"):
        Script(httpx.Response(200, content=body)).run(form, predict)


async def _async_fallback(declined: Declined) -> str:
    await asyncio.sleep(0)
    return f"asked a person: {declined.reason}"


@pytest.mark.parametrize(
    ("form", "fallback"),
    [
        ("sync", lambda declined: f"asked a person: {declined.reason}"),
        ("async", lambda declined: f"asked a person: {declined.reason}"),
        ("async", _async_fallback),
    ],
)
@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (httpx.Response(200, json=PREDICTION), None),
        (httpx.Response(200, json=PREDICTION | {"abstain": True}), "abstained"),
        (refusal(503), "unavailable"),
        (refusal(429), "unavailable"),
        (refusal(504), "unavailable"),
        (refusal(500), "unavailable"),
        (httpx.ConnectError("refused"), "unavailable"),
    ],
)
def test_answer_or_says_who_answered_and_why(form: str, fallback: Any, outcome: Any, reason: str | None) -> None:
    script = Script(outcome)
    answered: Answered[str] = script.run(
        form, lambda client: client.answer_or("q", ["a", "Paris"], fallback, abstain_below=0.8), retries=ONCE
    )
    assert script.bodies[0]["abstain_below"] == 0.8
    if reason is None:
        assert (answered.by, answered.answer, answered.declined) == ("service", "Paris", None)
    else:
        assert (answered.by, answered.answer) == ("fallback", f"asked a person: {reason}")
        assert answered.declined is not None
        assert answered.declined.reason == reason
        assert (answered.declined.error is None) == (reason == "abstained")
    assert (answered.prediction is None) == (reason == "unavailable")


@both_forms
@pytest.mark.parametrize("status", [401, 404, 422])
def test_answer_or_does_not_hide_a_request_that_is_wrong(form: str, status: int) -> None:
    def fallback(declined: Declined) -> str:
        raise RuntimeError("called")

    with pytest.raises(ServiceError, match=str(status)):
        Script(refusal(status)).run(form, lambda client: client.answer_or("q", ["a", "b"], fallback))


STORED = {
    **{key: value for key, value in PREDICTION.items() if key != "option"},
    "created_at": "2026-01-02T03:04:05.006Z",
    "adapter_digest": "sha256:0f",
    "task": "other",
    "option": {"index": 1, "label": "B"},
    "abstain_reason": None,
    "threshold": None,
    "prediction_set": ["B"],
    "coverage": 0.9,
    "tags": [],
    "question": None,
    "label": {
        "option": {"index": 0, "label": "A"},
        "correct": False,
        "source": "audit",
        "labelled_at": "2026-01-02T04:00:00Z",
    },
}
CALIBRATION = {
    "since": "2026-01-01T00:00:00Z",
    "until": "2026-01-02T00:00:00Z",
    "counted_limit": 10,
    "scored_limit": 5,
    "models": [
        {
            "model": "toy@1",
            "predictions": 2,
            "mean_confidence": 0.7,
            "coverage": 1.0,
            "label_share": 0.5,
            "labelled": {
                "questions": 1,
                "accuracy": 1.0,
                "mean_confidence": 0.7,
                "signed_gap": -0.3,
                "ece": 0.3,
                "ece_interval": {"low": 0.3, "high": 0.3},
                "ece_noise_floor": {"mean": 0.4, "p95": 0.7},
                "selective_risk": None,
                "bins": [{"low": 0.0, "high": 1.0, "labelled": 1, "mean_confidence": 0.7, "accuracy": 1.0}],
            },
        }
    ],
}


@both_forms
def test_the_other_calls_ask_as_the_contract_says(form: str) -> None:
    receipt = {"prediction_id": "p", "result": "accepted"}
    script = Script(
        httpx.Response(200, json=receipt),
        httpx.Response(200, json={"results": [receipt, PROBLEM]}),
        httpx.Response(200, json=STORED),
        *(httpx.Response(200, json=CALIBRATION) for _ in range(2)),
    )
    script.run(form, lambda client: client.feedback({"prediction_id": "p", "answer": "B", "source": "audit"}))
    done = script.run(form, lambda client: client.feedback_batch([{"prediction_id": "p", "answer": 1}] * 2))
    assert [type(item).__name__ for item in done] == ["FeedbackReceipt", "Problem"]
    stored = script.run(form, lambda client: client.prediction("a/../b"))
    assert (stored.option.label, stored.label.option.label, stored.label.correct) == ("B", "A", False)
    report = script.run(form, lambda client: client.calibration("7d", model="toy@1"))
    assert report.models[0].labelled.ece_noise_floor.p95 == 0.7
    script.run(form, lambda client: client.calibration())
    assert [(request.method, request.url.raw_path.decode()) for request in script.requests] == [
        ("POST", "/prefix/feedback"),
        ("POST", "/prefix/feedback/batch"),
        ("GET", "/prefix/predictions/a%2F..%2Fb"),
        ("GET", "/prefix/calibration?window=7d&model=toy%401"),
        ("GET", "/prefix/calibration"),
    ]
    assert [json.loads(request.content) for request in script.requests[:2]] == [
        {"prediction_id": "p", "answer": "B", "source": "audit"},
        {"feedback": [{"prediction_id": "p", "answer": 1}] * 2},
    ]


STATUSES = st.sampled_from([429, 503])
OUTCOMES = st.lists(st.tuples(STATUSES, st.none() | st.integers(0, 90)) | st.just("refused"), max_size=8)


@given(OUTCOMES, st.integers(1, 6), st.floats(0.01, 2), st.floats(2, 60), st.floats(0, 1, exclude_max=True))
def test_tries_and_waits_are_bounded_and_never_shorter_than_asked(
    failures: list[Any], attempts: int, first: float, longest: float, chance: float
) -> None:
    outcomes = [
        httpx.ConnectError("refused")
        if failure == "refused"
        else refusal(failure[0], **({} if failure[1] is None else {"retry-after": str(failure[1])}))
        for failure in failures
    ]
    asked = [0 if failure == "refused" else failure[1] or 0 for failure in failures]
    script = Script(*outcomes, httpx.Response(200, json=PREDICTION))
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
        assert max(asked[index], min(first * 2**index, longest)) <= wait <= 1.25 * longest


@given(st.integers(-(10**6), 10**6))
def test_a_retry_after_may_be_a_date(seconds: int) -> None:
    date = datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert read_retry_after(httpx.Response(503, headers={"retry-after": date}), NOW) == max(seconds, 0)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "٣", "Mon, 99 Foo 2026 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(value: str) -> None:
    response = httpx.Response(503, headers=[(b"retry-after", value.encode())])
    assert read_retry_after(response, NOW) is None


def test_a_retry_after_of_many_digits_is_long() -> None:
    seconds = read_retry_after(httpx.Response(503, headers={"retry-after": "9" * 5000}), NOW)
    assert Retries().wait_after(1, seconds, 0.0) is None


@pytest.mark.parametrize(
    "wrong",
    [{"attempts": 0}, {"attempts": 101}, {"first_wait": 0}, {"longest_wait": 0.1}, {"longest_wait": float("inf")}],
)
def test_retries_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Retries(**wrong)
