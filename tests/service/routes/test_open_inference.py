"""The Open Inference Protocol: requests as KServe's and Triton's HTTP clients send them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
import torch

from tests.answers import DTYPES
from tests.service.conftest import Start, draft
from tests.service.fake_predictor import FakeHost, FakePredictor, answer_to
from uq4ct.model_store.decisions import Decisions
from uq4ct.model_store.questions import Question
from uq4ct.model_store.storage.registry import Registry

pytestmark = pytest.mark.anyio

QUESTIONS = [
    Question("", "Which metal?", ("iron", "gold")),
    Question("", "Which city?", ("Oslo", "Paris", 'Rome, "Italy"'), "A passage."),
    Question("", "Which letter?", ("a", "b", "c", "d")),
]
INFER = "/v2/models/toy/infer"


def tensor(name: str, data: list[str], **changes: Any) -> dict[str, Any]:
    return {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": data, **changes}


def tensors(*questions: Question, context: bool = True) -> list[dict[str, Any]]:
    built = [
        tensor("question", [question.text for question in questions]),
        tensor("options", [json.dumps(question.options) for question in questions]),
    ]
    return [*built, tensor("context", [question.context or "" for question in questions])] if context else built


def refused(response: httpx2.Response, status: int) -> str:
    """Check the form of the protocol's error object and return its message."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    return response.json()["error"]


async def test_unequal_numbers_of_options_in_one_request(start: Start) -> None:
    async with start() as replica:
        body = {"id": "41-é", "inputs": tensors(*QUESTIONS)}
        response = await replica.client.post(INFER, json=body)
    assert response.status_code == 200
    answer = response.json()
    outputs = {output.pop("name"): output for output in answer.pop("outputs")}
    assert answer == {"model_name": "toy", "model_version": "1", "id": "41-é"}
    assert {name: output["datatype"] for name, output in outputs.items()} == DTYPES
    expected = [answer_to(question) for question in QUESTIONS]
    assert outputs["option"]["data"] == [one.option for one in expected]
    assert outputs["label"]["data"] == ["ABCD"[one.option] for one in expected]
    assert outputs["confidence"]["data"] == [one.confidence for one in expected]
    assert outputs["feu"]["data"] == [one.feu for one in expected]
    rows = [[*one.probabilities, *[0.0] * (4 - len(one.probabilities))] for one in expected]
    assert outputs["probabilities"]["shape"] == [3, 4]
    assert outputs["probabilities"]["data"] == [value for row in rows for value in row]
    assert outputs["abstain"]["data"] == [one.confidence < 0.6 for one in expected]
    assert outputs["threshold"]["data"] == [0.6] * 3
    # With the store's conformal scores (0.25, 0.5, 0.75), coverage 0.5 admits 1 - p <= 0.5 and the chosen option.
    assert [json.loads(text) for text in outputs["prediction_set"]["data"]] == [
        ["ABCD"[one.option]] for one in expected
    ]
    assert outputs["coverage"]["data"] == [0.5] * 3
    assert len(set(outputs["prediction_id"]["data"])) == 3
    assert {tuple(output["shape"]) for name, output in outputs.items() if name != "probabilities"} == {(3,)}


async def test_the_same_answers_as_predict(start: Start) -> None:
    async with start() as replica:
        asked = QUESTIONS[0]
        single = (await replica.ask(asked.text, asked.options)).json()
        response = await replica.client.post(INFER, json={"inputs": tensors(asked, context=False)})
        outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
        assert replica.sample("requests_total", route="/v2/models/{name}/infer", code="200") == 1
    assert "id" not in response.json()
    assert outputs["probabilities"] == [item["probability"] for item in single["probabilities"]]
    assert outputs["confidence"] == [single["confidence"]]


@pytest.mark.parametrize(
    "parameters",
    [
        {"abstain_below": 0.99, "coverage": 0.75, "task": "triage"},
        {"abstain_below": 0, "coverage": 1},
        {"abstain_below": None, "coverage": None, "task": None},
    ],
)
async def test_parameters_replace_decisions_as_the_fields_of_predict_do(
    start: Start, parameters: dict[str, Any]
) -> None:
    async with start(tasks=("triage",)) as replica:
        singles = [
            (await replica.ask(one.text, one.options, context=one.context, **parameters)).json() for one in QUESTIONS
        ]
        response = await replica.client.post(INFER, json={"inputs": tensors(*QUESTIONS), "parameters": parameters})
        outputs = {output["name"]: output["data"] for output in response.json()["outputs"]}
        for name in outputs["prediction_id"]:
            assert (await replica.post("/feedback", {"prediction_id": name, "answer": 0})).status_code == 200
        counted = replica.registry.collect()
    for name in ("abstain", "threshold", "coverage"):
        assert outputs[name] == [single[name] for single in singles]
    assert [json.loads(text) for text in outputs["prediction_set"]] == [single["prediction_set"] for single in singles]
    task = "triage" if parameters.get("task") else "other"
    samples = [one for metric in counted for one in metric.samples if one.name == "uq4ct_labelled_predictions_total"]
    assert {one.labels["task"] for one in samples if one.value} == {task}


@pytest.mark.parametrize("name", ["abstain_below", "coverage"])
@pytest.mark.parametrize("value", [-0.01, 1.01, "0.5", True, [0.5]])
async def test_parameters_are_held_to_the_bounds_of_predict(start: Start, name: str, value: Any) -> None:
    async with start() as replica:
        single = await replica.ask(**{name: value})
        body = {"inputs": tensors(*QUESTIONS), "parameters": {name: value}}
        error = refused(await replica.client.post(INFER, json=body), 422)
    assert single.status_code == 422
    assert error == f"parameters.{single.json()['detail']}"


async def test_without_decisions_there_is_a_threshold_only_where_it_is_asked(
    start: Start, own_adapters: Registry, host: FakeHost
) -> None:
    bare = draft("bare").model_copy(update={"decisions": Decisions(sets=None, abstention=None, tested=None)})
    own_adapters.publish(bare, {"w": torch.ones(2)}, {}, promote=True)
    infer = "/v2/models/bare/infer"
    async with start(adapters=own_adapters) as replica:
        body = {"inputs": tensors(*QUESTIONS)}
        plain = (await replica.client.post(infer, json=body)).json()["outputs"]
        asked = await replica.client.post(infer, json=body | {"parameters": {"abstain_below": 0.9, "coverage": 0.9}})
        described = (await replica.client.get("/v2/models/bare")).json()["outputs"]
        wanted = await replica.client.post(infer, json=body | {"outputs": [{"name": "coverage"}]})
    without_sets = [name for name in DTYPES if name not in ("prediction_set", "coverage")]
    assert [one["name"] for one in plain] == [name for name in without_sets if name != "threshold"]
    assert [one["name"] for one in asked.json()["outputs"]] == without_sets
    assert [one["name"] for one in described] == without_sets
    assert refused(wanted, 422).startswith("outputs.0.name: ")


async def test_the_wanted_outputs_in_the_wanted_order(start: Start) -> None:
    wanted = [{"name": "confidence"}, {"name": "label", "parameters": {"binary_data": False}}]
    async with start() as replica:
        body = {"inputs": tensors(QUESTIONS[0]), "outputs": wanted}
        response = await replica.client.post(INFER, json=body)
        assert [output["name"] for output in response.json()["outputs"]] == ["confidence", "label"]
        unknown = await replica.client.post(INFER, json=body | {"outputs": [{"name": "logits"}]})
    assert refused(unknown, 422).startswith("outputs.0.name: ")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (2, "outputs.2.name: probabilities is given twice"),
        (24_000, "outputs: List should have at most 11 items after validation, not 24001"),
    ],
)
async def test_a_repeated_output_is_refused_before_anything_is_asked(
    start: Start, predictor: FakePredictor, times: int, message: str
) -> None:
    """The length of a response must not be a product of the questions and the outputs of a request."""
    body = {"inputs": tensors(*QUESTIONS), "outputs": [{"name": "label"}] + [{"name": "probabilities"}] * times}
    async with start() as replica:
        error = refused(await replica.client.post(INFER, json=body), 422)
    assert error == message
    assert predictor.served_texts() == []


async def test_feu_is_no_output_of_a_model_without_routers(start: Start, predictor: FakePredictor) -> None:
    async with start() as replica:
        predictor.spoil = {"feu": None}  # type: ignore[dict-item]
        response = await replica.client.post(INFER, json={"inputs": tensors(*QUESTIONS)})
        assert [output["name"] for output in response.json()["outputs"]] == [name for name in DTYPES if name != "feu"]
        body = {"inputs": tensors(*QUESTIONS), "outputs": [{"name": "label"}, {"name": "feu"}]}
        assert refused(await replica.client.post(INFER, json=body), 422).startswith("outputs.1.name: ")


async def test_an_error_score_is_an_output_of_a_model_that_has_one(
    start: Start, predictor: FakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for name in DTYPES if name != "prediction_id"]
    body = {"inputs": tensors(*QUESTIONS), "outputs": [{"name": "error_score"}]}
    async with start() as replica:
        assert refused(await replica.client.post(INFER, json=body), 422).startswith("outputs.0.name: ")
        described = (await replica.client.get("/v2/models/toy")).json()["outputs"]
        assert "error_score" not in [one["name"] for one in described]
        predictor.spoil = {"error_score": 0.25}
        monkeypatch.setattr(type(predictor.manifest.posterior), "has_error_score", True)
        (output,) = (await replica.client.post(INFER, json=body)).json()["outputs"]
        described = (await replica.client.get("/v2/models/toy")).json()["outputs"]
        everything = (await replica.client.post(INFER, json={"inputs": body["inputs"]})).json()["outputs"]
    assert output == {"name": "error_score", "datatype": "FP64", "shape": [3], "data": [0.25] * 3}
    assert [one["name"] for one in described] == [one["name"] for one in everything]
    assert [one["name"] for one in described if one["name"] != "prediction_id"] == [
        *names[: names.index("feu") + 1], "error_score", *names[names.index("feu") + 1 :]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "extra"),
    [
        ({}, {}),  # KServe's client sends bytes without a content type
        ({"content-type": "application/octet-stream"}, {}),  # Triton's asynchronous client does
        ({"content-type": "application/json"}, {"parameters": {"binary_data_output": True}}),
        ({}, {"outputs": [{"name": name, "parameters": {"binary_data": True}} for name in DTYPES]}),
        ({}, {"parameters": {}, "outputs": []}),
        ({}, {"inputs": [{**one, "shape": [3.0]} for one in tensors(*QUESTIONS)]}),
    ],
)
async def test_requests_as_the_standard_clients_write_them(
    start: Start, headers: dict[str, str], extra: dict[str, Any]
) -> None:
    inputs = [{**one, "parameters": {"content_type": "str"}} for one in tensors(*QUESTIONS)]
    async with start() as replica:
        body = json.dumps({"inputs": inputs, **extra})
        response = await replica.client.post(INFER, content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert [output["name"] for output in response.json()["outputs"]] == list(DTYPES)


async def test_binary_tensors_are_refused_by_name(start: Start) -> None:
    header = {"inputs": [{**one, "parameters": {"binary_data_size": 9}} for one in tensors(QUESTIONS[0])]}
    for one in header["inputs"]:
        del one["data"]
    content = json.dumps(header).encode()
    async with start() as replica:
        length = {"inference-header-content-length": str(len(content))}
        with_bytes = await replica.client.post(INFER, content=content + b"\x05\0\0\0hello", headers=length)
        assert "binary_data=False" in refused(with_bytes, 415)
        assert "binary_data=False" in refused(await replica.client.post(INFER, content=content), 422)


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        ([], "inputs.question: is missing"),
        (tensors(QUESTIONS[0])[:1], "inputs.options: is missing"),
        ([*tensors(QUESTIONS[0]), tensor("question", ["twice"])], "inputs.question: is given twice"),
        ([tensor("question", ["a", "b"], shape=[1]), tensor("options", ["[]"])],
         "inputs.question: the shape is [1], but the data has 2 elements"),
        ([tensor("question", ["a", "b"]), tensor("options", ["[]"])],
         "inputs.options: has 1 elements, but there are 2 questions"),
        ([tensor("question", ["a"]), tensor("options", ["iron, gold"])],
         "inputs.options: element 0 is not a JSON array of texts"),
        ([tensor("question", ["a"]), tensor("options", ["[" * 100_000])],
         "inputs.options: element 0 is not a JSON array of texts"),
        ([tensor("question", ["a"]), tensor("options", ['["a", 1]'])],
         "inputs.options: element 0 is not a JSON array of texts"),
        ([tensor("question", ["a"], datatype="INT64"), tensor("options", ["[]"])], "inputs.0.datatype: "),
        ([tensor("question", ["a"], shape=[1, 1]), tensor("options", ["[]"])], "inputs.0.shape: "),
        ([tensor("question", [], shape=[0]), tensor("options", ["[]"])], "inputs.0.shape.0: "),
        ([tensor("question", ["a"], shape=["1"]), tensor("options", ["[]"])], "inputs.0.shape.0: "),
        ([tensor("question", ["a"], shape=[True]), tensor("options", ["[]"])], "inputs.0.shape.0: "),
        ([tensor("question", ["a"], shape=[1.5]), tensor("options", ["[]"])], "inputs.0.shape.0: "),
        ([tensor("answer", ["a"])], "inputs.0.name: "),
        ([tensor("question", ["a"], parameters={"content_type": "base64"})], "inputs.0.parameters.content_type: "),
        ([*tensors(Question("", "x", ("a", "b"))), {}], "inputs.3."),
        ("question", "inputs: "),
    ],
)  # fmt: skip
async def test_tensors_that_do_not_fit(start: Start, inputs: Any, error: str) -> None:
    async with start() as replica:
        message = refused(await replica.client.post(INFER, json={"inputs": inputs}), 422)
    assert message.startswith(error), message


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"parameters": {"timeout": 3}}, 422, "parameters.timeout: "),
        ({"parameters": {"abstain_bellow": 0.9}}, 422, "parameters.abstain_bellow: "),
        ({"parameters": {"task": "a\nb"}}, 422, "parameters.task: "),
        ({"parameters": {"tags": ["a"]}}, 422, "parameters.tags: "),
        ({"id": "\ud800"}, 422, "id: "),
        ({"id": 3}, 422, "id: "),
        ({"extra": 3}, 422, "extra: "),
    ],
)
async def test_what_a_request_may_not_say(start: Start, changes: Any, status: int, error: str) -> None:
    async with start() as replica:
        body = json.dumps({"inputs": tensors(QUESTIONS[0]), **changes})
        assert refused(await replica.client.post(INFER, content=body), status).startswith(error)


async def test_one_question_that_fails_fails_them_all(start: Start) -> None:
    async with start() as replica:

        async def ask(text: str, options: str) -> httpx2.Response:
            names = ("question", ["fine?", text]), ("options", ['["a", "b"]', options])
            return await replica.client.post(INFER, json={"inputs": [tensor(name, data) for name, data in names]})

        assert refused(await ask("one", '["a"]'), 422).startswith(
            "question 1: options: must have between 2 and 26 entries"
        )
        assert refused(await ask("one", '["a", "\\ud800"]'), 422).startswith("question 1: options.1: ")
        assert "65" in refused(await ask("word " * 63, '["a", "b"]'), 422)
        assert refused(await ask("break the tokenizer", '["a", "b"]'), 500).startswith("question 1: ")
        alone = await replica.client.post(
            INFER, json={"inputs": [tensor("question", [" "]), tensor("options", ["[]"])]}
        )
        assert refused(alone, 422) == "question: is empty"


async def test_bodies_are_read_as_strictly_as_those_of_predict(start: Start) -> None:
    async with start(payload_limit=400, max_client_batch_size=2) as replica:

        async def post(content: bytes, **headers: str) -> httpx2.Response:
            return await replica.client.post(INFER, content=content, headers=headers)

        refused(await post(b"{"), 400)
        assert "duplicate key" in refused(await post(b'{"id": "a", "id": "b"}'), 400)
        refused(await post(b" " * 401), 413)
        refused(await post(b"{}", **{"content-type": "text/plain"}), 415)
        many = {"inputs": [tensor("question", list("abc")), tensor("options", ["[]"] * 3)]}
        assert refused(await post(json.dumps(many).encode()), 413) == "the request has 3 questions (limit: 2)"


async def test_429_and_503_say_when_to_come_back(start: Start, predictor: FakePredictor) -> None:
    async with start(max_concurrent_requests=2, max_client_batch_size=2) as replica:
        body = {"inputs": tensors(*QUESTIONS[:2])}
        predictor.forward_may_start.clear()
        admitted = asyncio.create_task(replica.ask())
        await replica.settle(predictor.served_texts)
        response = await replica.client.post(INFER, json=body)
        predictor.forward_may_start.set()
        assert (await admitted).status_code == 200
        refused(response, 429)
        assert int(response.headers["retry-after"]) >= 1
        assert (await replica.client.get("/v2/health/ready")).json() == {"ready": True}
        await replica.context.engine.drain()
        response = await replica.client.post(INFER, json=body)
        refused(response, 503)
        assert response.headers["retry-after"] == "1"
        refused(await replica.client.get("/v2/health/ready"), 503)
        refused(await replica.client.get("/v2/models/toy/ready"), 503)
        assert (await replica.client.get("/v2/health/live")).json() == {"live": True}


async def test_metadata_says_what_infer_takes_and_gives(start: Start) -> None:
    async with start() as replica:
        server = (await replica.client.get("/v2")).json()
        model = (await replica.client.get("/v2/models/toy")).json()
        assert (await replica.client.get("/v2/models/toy/versions/staging")).json() == model
        response = await replica.client.post(INFER, json={"inputs": tensors(*QUESTIONS)})
    assert server["extensions"] == []
    assert server["name"]
    assert server["version"]
    assert (model["name"], model["versions"], model["platform"]) == ("toy", ["1", "2"], "uq4ct")
    assert [(one["name"], one["datatype"], one["shape"]) for one in model["inputs"]] == [
        (name, "BYTES", [-1]) for name in ("question", "options", "context")
    ]
    assert "JSON array" in model["inputs"][1]["parameters"]["description"]
    assert list(model["parameters"]) == ["abstain_below", "coverage", "task", "binary_data_output"]
    assert all(model["parameters"].values())
    described = {one["name"]: (one["datatype"], len(one["shape"])) for one in model["outputs"]}
    assert described == {one["name"]: (one["datatype"], len(one["shape"])) for one in response.json()["outputs"]}
    assert (
        "end in zeros"
        in next(one for one in model["outputs"] if one["name"] == "probabilities")["parameters"]["description"]
    )


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("toy", 200),
        ("toy/versions/1", 200),
        ("toy/versions/production", 200),
        ("toy/versions/9", 404),
        ("toy/versions/A", 422),
        ("nobody", 404),
        ("UPPER", 422),
        ("toy@1", 422),
    ],
)
async def test_which_models_are_ready_and_answer(start: Start, path: str, status: int) -> None:
    async with start() as replica:
        ready = await replica.client.get(f"/v2/models/{path}/ready")
        answer = await replica.client.post(f"/v2/models/{path}/infer", json={"inputs": tensors(QUESTIONS[0])})
    if status == 200:
        assert ready.json() == {"name": "toy", "ready": True}
        assert answer.json()["model_version"] == "1"
    else:
        refused(ready, status)
        refused(answer, status)


@pytest.mark.parametrize(("path", "version"), [("toy/versions/2", "2"), ("other", "1")])
async def test_a_model_that_is_not_loaded_is_not_ready_until_it_is_asked(start: Start, path: str, version: str) -> None:
    async with start() as replica:
        refused(await replica.client.get(f"/v2/models/{path}/ready"), 404)
        answer = await replica.client.post(f"/v2/models/{path}/infer", json={"inputs": tensors(QUESTIONS[0])})
        assert answer.json()["model_version"] == version
        assert (await replica.client.get(f"/v2/models/{path}/ready")).status_code == 200


async def test_an_unexpected_error_has_the_form_too(start: Start) -> None:
    async with start() as replica:
        replica.context.adapters = None  # type: ignore[assignment]  # an unexpected fault
        assert "unexpected" in refused(await replica.client.get("/v2/models/toy"), 500)
