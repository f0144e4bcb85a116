"""The client in both of its forms, against the service and against a scripted transport."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest

from tests.service.client.scripted_service import ONCE, PREDICTION, PROBLEM, Script, both_forms, predict, refusal
from tests.service.conftest import Start
from tests.service.fake_predictor import FakePredictor
from tests.service.listening import on_a_socket
from uq4ct.client import (
    Answered,
    AsyncClient,
    Client,
    Declined,
    InvalidRequestError,
    ModelCard,
    NotFoundError,
    Prediction,
    Problem,
    ServiceError,
    ServiceFailedError,
    UnreadableResponseError,
)

pytestmark = pytest.mark.anyio

MODEL: dict[str, Any] = {
    "name": "toy", "version": 1, "aliases": [], "loaded": True, "ready": True, "default": True, "method": "uq4ct",
    "digest": "sha256:0", "base": {"name": "tiny", "revision": None, "digest": "sha256:1"}, "samples": 1, "passes": 1,
    "scores": {},
}  # fmt: skip


async def test_sync_over_a_socket_and_async_on_the_app_say_the_same(start: Start) -> None:
    def ask(address: str) -> tuple[Prediction, list[Any], Any]:
        with Client(address, retries=ONCE) as client:
            batch = client.predict_batch(
                [{"question": "Which?", "options": ("a", "b")}, {"question": "", "options": []}]
            )
            return client.predict("Which?", ("a", "b"), context="A passage.", model="toy"), batch, client.models()

    async with start() as replica, on_a_socket(replica) as address:
        single, (first, second), models = await asyncio.to_thread(ask, address)
        transport = httpx2.ASGITransport(replica.app)
        async with AsyncClient("http://localhost", transport=transport, retries=ONCE) as client:
            again = await client.predict("Which?", ("a", "b"), context="A passage.", model="toy")
            assert await client.models() == models
    assert single.model_copy(update={"prediction_id": again.prediction_id}) == again
    assert (single.model, single.option.text in ("a", "b")) == ("toy@1", True)
    assert (single.threshold, single.abstain) == (0.6, single.confidence < 0.6)
    assert isinstance(first, Prediction)
    assert isinstance(second, Problem)
    assert second.errors[0].field == "question"
    assert {(card.name, card.version) for card in models.models} == {("toy", 1), ("toy", 2), ("other", 1)}


@both_forms
def test_every_page_of_the_models_is_read(form: str) -> None:
    damaged = [{"name": "torn", "version": None, "aliases": [], "error": "unreadable"}]
    pages = [
        {"models": [MODEL], "damaged": [], "next": "toy@1"},
        {"models": [], "damaged": damaged, "next": "torn@0"},
        {"models": [MODEL | {"version": 2}], "damaged": [], "next": None},
    ]
    script = Script(*(httpx2.Response(200, json=page) for page in pages))
    models = script.run(form, lambda client: client.models())
    assert [request.url.query for request in script.requests] == [b"", b"cursor=toy%401", b"cursor=torn%400"]
    assert [model.version for model in models.models] == [1, 2]
    assert [entry.name for entry in models.damaged] == ["torn"]
    assert models.next is None


@both_forms
def test_pages_that_lead_nowhere_are_an_error(form: str) -> None:
    page = {"models": [MODEL], "damaged": [], "next": "toy@1"}
    script = Script(*(httpx2.Response(200, json=page) for _ in range(3)))
    with pytest.raises(UnreadableResponseError, match="/models: the page after toy@1 leads back to toy@1"):
        script.run(form, lambda client: client.models(), retries=ONCE)
    assert len(script.requests) == 2


@both_forms
def test_pages_that_lead_in_a_circle_are_an_error(form: str) -> None:
    cursors = ("toy@1", "toy@2", "toy@1", "toy@2")
    script = Script(*(httpx2.Response(200, json={"models": [], "damaged": [], "next": one}) for one in cursors))
    with pytest.raises(UnreadableResponseError, match="/models: the page after toy@2 leads back to toy@1"):
        script.run(form, lambda client: client.models(), retries=ONCE)
    assert len(script.requests) == 3


async def test_a_model_is_shown_by_any_reference(start: Start) -> None:
    async with start() as replica, on_a_socket(replica) as address:
        transport = httpx2.ASGITransport(replica.app)
        async with AsyncClient("http://localhost", transport=transport, retries=ONCE) as client:
            card = await client.model("toy@staging")
            with pytest.raises(NotFoundError):
                await client.model("nobody")

        def show() -> ModelCard:
            with Client(address, retries=ONCE) as client:
                return client.model("toy@2")

        assert await asyncio.to_thread(show) == card
    assert (card.version, card.calibration["value"], card.posterior) == (2, 1.3, {"kind": "point"})


async def test_the_service_s_problems_are_typed(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        transport = httpx2.ASGITransport(replica.app)
        async with AsyncClient("http://localhost", transport=transport, retries=ONCE) as client:
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
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"prediction_id": "x"}'])
def test_a_success_that_is_not_an_answer(form: str, body: bytes) -> None:
    with pytest.raises(UnreadableResponseError, match="/prefix/predict"):
        Script(httpx2.Response(200, content=body)).run(form, predict)


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
        (httpx2.Response(200, json=PREDICTION), None),
        (httpx2.Response(200, json=PREDICTION | {"abstain": True}), "abstained"),
        (refusal(503), "unavailable"),
        (refusal(429), "unavailable"),
        (refusal(504), "unavailable"),
        (refusal(500), "unavailable"),
        (httpx2.ConnectError("refused"), "unavailable"),
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
    "tenant": "clinic",
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
    "alarms": [{"model": "toy@2", "test": "error_rate", "alarmed_at": "2026-01-01T00:00:00Z", "labels": 9}],
    "models": [
        {
            "model": "toy@1",
            "verdict": {"state": "too_few_labels", "reasons": []},
            "predictions": 2,
            "mean_confidence": 0.7,
            "coverage": 1.0,
            "label_share": 0.5,
            "label_delay": {"median_seconds": 3.5, "p90_seconds": 8.0},
            "confidence_shares": [0.0] * 14 + [1.0],
            "feu_shares": None,
            "reference": {
                "questions": 40,
                "accuracy": 0.9,
                "ece": 0.05,
                "confidence_shares": None,
                "feu_shares": None,
                "abstention": {"threshold": 0.6, "share": 0.2},
                "curve": [{"threshold": 0.6, "coverage": 0.8, "answered": 32, "selective_risk": 0.1}],
            },
            "labelled": {
                "questions": 1,
                "accuracy": 1.0,
                "mean_confidence": 0.7,
                "signed_gap": -0.3,
                "gap_z": -0.65,
                "spiegelhalter_z": None,
                "top_label_brier": 0.09,
                "ece": 0.3,
                "ece_noise_floor": {"mean": 0.4, "p95": 0.7},
                "rms_calibration_error": 0.1,
                "rms_calibration_error_interval": {"low": 0.0, "high": 0.3},
                "selective_risk": None,
                "bins": [
                    {
                        "low": 0.0,
                        "high": 1.0,
                        "predictions": 2,
                        "labelled": 1,
                        "mean_confidence": 0.7,
                        "accuracy": 1.0,
                        "accuracy_interval": {"low": 0.2, "high": 1.0},
                    }
                ],
                "curve": [{"threshold": 1.0, "coverage": 0.0, "answered": 0, "selective_risk": None}],
            },
            "sequential": [
                {
                    "test": "error_rate",
                    "log_evidence": -0.25,
                    "alarm": False,
                    "alarmed_at": None,
                    "labels": 7,
                    "since": "2026-01-01T00:00:00Z",
                }
            ],
        }
    ],
}


@both_forms
def test_the_other_calls_ask_as_the_contract_says(form: str) -> None:
    receipt = {"prediction_id": "p", "result": "accepted"}
    script = Script(
        httpx2.Response(200, json=receipt),
        httpx2.Response(200, json={"results": [receipt, PROBLEM]}),
        httpx2.Response(200, json=STORED),
        *(httpx2.Response(200, json=CALIBRATION) for _ in range(2)),
    )
    script.run(form, lambda client: client.feedback({"prediction_id": "p", "answer": "B", "source": "audit"}))
    done = script.run(form, lambda client: client.feedback_batch([{"prediction_id": "p", "answer": 1}] * 2))
    assert [type(item).__name__ for item in done] == ["FeedbackReceipt", "Problem"]
    stored = script.run(form, lambda client: client.prediction("a/../b"))
    assert (stored.option.label, stored.label.option.label, stored.label.correct) == ("B", "A", False)
    report = script.run(form, lambda client: client.calibration("7d", model="toy@1"))
    assert report.models[0].labelled.ece_noise_floor.p95 == 0.7
    assert report.models[0].reference.curve[0].coverage == 0.8
    assert report.models[0].sequential[0].labels == 7
    assert (report.alarms[0].test, report.models[0].verdict.state) == ("error_rate", "too_few_labels")
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
