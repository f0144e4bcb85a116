"""The examples in the OpenAPI document: there for every operation, valid, consistent, and answered as they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from tests.benchmarks.served import running_service
from tests.service.conftest import Start
from uq4ct.service.http.declarations import DETAILS
from uq4ct.service.http.kinds import INVALID_FIELD, Kind
from uq4ct.service.routes.open_inference import schemas as open_inference
from uq4ct.service.schemas import calibration, common, feedback, history, models, predict, status
from uq4ct.service.schemas.examples import example_of

pytestmark = pytest.mark.anyio

NAMES = sorted(
    file.name.removesuffix(".json")
    for file in files("uq4ct.service.schemas.examples").iterdir()
    if file.name.endswith(".json")
)
ASKING = ("/predict", "/predict/batch", "/v2/models/{name}/infer")


def class_of(name: str) -> type[BaseModel]:
    """The class of bodies with this name."""
    modules = (calibration, common, feedback, history, models, open_inference, predict, status)
    (found,) = {getattr(module, name) for module in modules if hasattr(module, name)}
    return found


def shape(value: Any) -> Any:
    """The names of all fields, without values; texts and numbers are alike, and so are null and what may be null."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    return [shape(part) for part in value] if isinstance(value, list) else None


async def document_of(start: Start) -> dict[str, Any]:
    async with start() as replica:
        return (await replica.client.get("/openapi.json")).json()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", one)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    ]


def contents(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The content of the body and of every response that has one."""
    parts = [operation["requestBody"]] if "requestBody" in operation else []
    parts += operation["responses"].values()
    return [media for part in parts for media in part.get("content", {}).values()]


def fields_of(operation: dict[str, Any]) -> set[str]:
    """The names of the parameters of an operation and of the fields of its body."""
    bodies = operation.get("requestBody", {}).get("content", {}).values()
    return {one["name"] for one in operation.get("parameters", [])}.union(*(media["example"] for media in bodies))


def examples_in(media: dict[str, Any]) -> list[Any]:
    """The values of the examples of a parameter or a content."""
    one = [media["example"]] if "example" in media else []
    return one + [example["value"] for example in media.get("examples", {}).values()]


async def test_every_operation_has_valid_examples_of_what_it_takes_and_returns(start: Start) -> None:
    document = await document_of(start)
    found = operations(document)
    assert len(found) == 27
    for label, operation in found:
        for media in [*operation.get("parameters", []), *contents(operation)]:
            examples = examples_in(media)
            assert examples, label
            schema = {**media["schema"], "components": document["components"]}
            for example in examples:
                Draft202012Validator(schema).validate(example)


@pytest.mark.parametrize("name", NAMES)
async def test_an_example_is_what_its_class_writes(start: Start, name: str) -> None:
    example = example_of(name)
    made = class_of(name).model_validate_json(json.dumps(example))
    unset = name.endswith("Request")  # a client leaves out what it does not set
    assert json.loads(made.model_dump_json(exclude_unset=unset)) == example
    document = await document_of(start)
    references = [media["schema"].get("$ref") for _, one in operations(document) for media in contents(one)]
    assert f"#/components/schemas/{name}" in references


async def test_the_example_of_an_error_is_of_its_status_and_about_its_operation(start: Start) -> None:
    for label, operation in operations(await document_of(start)):
        for code, response in operation["responses"].items():
            examples = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
            problems = {slug: example["value"] for slug, example in examples.items()}
            for slug, problem in problems.items():
                assert (problem["type"], str(problem["status"])) == (f"urn:uq4ct:problem:{slug}", code)
                fields = [error["field"] for error in problem["errors"]]
                assert [field in fields_of(operation) for field in fields] == [True] * (slug == INVALID_FIELD.slug), (
                    label
                )
            titles = [problem["title"] for problem in problems.values()]
            assert response["description"] == "; ".join(titles) or not titles, label


async def test_under_v2_an_example_of_an_error_is_the_detail_of_the_problem(start: Start) -> None:
    details = {kind.slug: detail for kind, detail in DETAILS.items()}
    found = 0
    for label, operation in operations(await document_of(start)):
        for code, response in operation["responses"].items() if " /v2" in label else ():
            for slug, example in response["content"]["application/json"].get("examples", {}).items():
                detail = example["value"]["error"]
                assert code != "200"
                assert detail == details.get(slug) or detail.partition(":")[0] in {
                    *fields_of(operation),
                    "inputs.question",
                }
                found += 1
    assert found > 50


def test_every_detail_is_that_of_its_kind_alone() -> None:
    assert len(set(DETAILS.values())) == len(DETAILS)
    assert all(isinstance(kind, Kind) and detail for kind, detail in DETAILS.items())


@pytest.mark.parametrize("path", ASKING)
async def test_the_example_question_is_answered_in_the_form_of_the_example_answer(start: Start, path: str) -> None:
    async with start() as replica:
        operation = (await replica.client.get("/openapi.json")).json()["paths"][path]["post"]
        (asked, answered) = contents({**operation, "responses": {"200": operation["responses"]["200"]}})
        response = await replica.post(path.replace("{name}", "toy"), asked["example"])
    assert response.status_code == 200, response.text
    assert shape(response.json()) == shape(answered["example"])


@pytest.mark.slow
def test_a_real_model_answers_the_example_question_as_the_example_says(publish_tiny: Callable[..., Any]) -> None:
    with running_service(publish_tiny().registry.root, DTYPE="float32") as service:
        response = httpx2.post(f"{service.address}/predict", json=example_of("PredictRequest"), timeout=30)
    assert response.status_code == 200, response.text
    assert list(response.json()) == list(example_of("PredictResponse"))
    assert [one["label"] for one in response.json()["probabilities"]] == ["A", "B", "C", "D"]
