"""Triton's own HTTP client queries a listening service by the Open Inference Protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.service.access.key_holder import KeyHolder
from tests.service.fake_predictor import answer_to
from uq4ct.model_store.questions import Question

QUESTIONS = [
    Question("", "Which metal is liquid?", ("iron", "mercury")),
    Question("", "Quelle ville? — à côté", ("Oslo", "Paris", "Rome")),
]


@pytest.fixture
def triton(fake_service: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(fake_service.removeprefix("http://"), connection_timeout=20) as client:
        yield client


@pytest.fixture
def header(keys: KeyHolder) -> dict[str, str]:
    return {"Authorization": keys.header("k")["authorization"]}


def tensor(name: str, texts: list[str], *, binary: bool) -> InferInput:
    built = InferInput(name, [len(texts)], "BYTES")
    built.set_data_from_numpy(np.array([text.encode() for text in texts], dtype=object), binary_data=binary)
    return built


def tensors(*, binary: bool) -> list[InferInput]:
    return [
        tensor("question", [question.text for question in QUESTIONS], binary=binary),
        tensor("options", [json.dumps(question.options) for question in QUESTIONS], binary=binary),
    ]


def values(result: InferResult, name: str) -> list[Any]:
    array = result.as_numpy(name)
    assert array is not None, name
    return array.tolist()


def test_liveness_and_readiness_need_no_key(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()


def test_models_and_their_metadata(triton: InferenceServerClient, header: dict[str, str]) -> None:
    assert triton.is_model_ready("toy", headers=header)
    assert triton.is_model_ready("toy", "1", headers=header)
    assert not triton.is_model_ready("other", headers=header)  # registered, and not loaded
    assert not triton.is_model_ready("toy")  # without a key
    assert triton.get_server_metadata(headers=header)["extensions"] == []
    metadata: Any = triton.get_model_metadata("toy", headers=header)
    assert (metadata["name"], metadata["versions"]) == ("toy", ["1"])
    assert [one["name"] for one in metadata["inputs"]] == ["question", "options", "context"]
    assert {"abstain_below", "coverage", "task"} <= set(metadata["parameters"])


@pytest.mark.parametrize("wanted", [None, ["label", "confidence", "abstain", "threshold", "probabilities"]])
def test_answers_come_as_arrays(
    triton: InferenceServerClient, header: dict[str, str], wanted: list[str] | None
) -> None:
    outputs = None if wanted is None else [InferRequestedOutput(name) for name in wanted]
    result = triton.infer(
        "toy",
        tensors(binary=False),
        outputs=outputs,
        request_id="r-1",
        headers=header,
        parameters={"abstain_below": 0.7, "task": "triage"},
    )
    answers = [answer_to(question) for question in QUESTIONS]
    response: Any = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("r-1", "toy", "1")
    assert wanted in (None, [output["name"] for output in response["outputs"]])
    assert values(result, "label") == ["ABC"[answer.option] for answer in answers]
    assert values(result, "confidence") == [answer.confidence for answer in answers]
    assert values(result, "abstain") == [answer.confidence < 0.7 for answer in answers]
    assert values(result, "threshold") == [0.7, 0.7]
    assert values(result, "probabilities") == [[*answers[0].probabilities, 0.0], [*answers[1].probabilities]]


def test_the_asynchronous_call_is_answered_too(triton: InferenceServerClient, header: dict[str, str]) -> None:
    result = triton.async_infer("toy", tensors(binary=False), headers=header).get_result()
    assert values(result, "option") == [answer_to(question).option for question in QUESTIONS]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_request_is_answered_too(
    triton: InferenceServerClient, header: dict[str, str], coding: str
) -> None:
    result = triton.infer("toy", tensors(binary=False), headers=header, request_compression_algorithm=coding)
    assert values(result, "option") == [answer_to(question).option for question in QUESTIONS]


def test_binary_tensors_are_refused_with_the_way_out(triton: InferenceServerClient, header: dict[str, str]) -> None:
    with pytest.raises(InferenceServerException, match="binary_data=False") as refused:
        triton.infer("toy", tensors(binary=True), headers=header)
    assert refused.value.status() == "415"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"abstain_bellow": 0.7}, r"parameters\.abstain_bellow: "),
        ({"coverage": 1.5}, r"parameters\.coverage: .*less than or equal to 1"),
    ],
)
def test_a_wrong_parameter_is_named(
    triton: InferenceServerClient, header: dict[str, str], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message) as refused:
        triton.infer("toy", tensors(binary=False), headers=header, parameters=parameters)
    assert refused.value.status() == "422"


def test_without_a_valid_key_there_is_no_answer(triton: InferenceServerClient) -> None:
    for headers in (None, {"Authorization": "Bearer uq4ct_wrong"}):
        with pytest.raises(InferenceServerException) as refused:
            triton.infer("toy", tensors(binary=False), headers=headers)
        assert refused.value.status() == "401"
