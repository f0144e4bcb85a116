from __future__ import annotations

from typing import Any

import pytest

from tests.docker.dockerfile import ROOT
from tests.service.conftest import Start
from uq4ct.service.http.guards import PUBLIC_PATHS

pytestmark = pytest.mark.anyio

DECLARED = {
    ("post", "/predict"): {"200", "400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503", "504"},
    ("post", "/predict/batch"): {"200", "400", "401", "403", "413", "415", "422", "429", "500", "503"},
    ("post", "/feedback"): {"200", "400", "401", "403", "404", "409", "410", "413", "415", "422", "500", "503"},
    ("post", "/feedback/batch"): {"200", "400", "401", "403", "413", "415", "422", "500", "503"},
    ("get", "/predictions"): {"200", "401", "403", "422", "500", "503"},
    ("get", "/predictions/{prediction_id}"): {"200", "401", "403", "404", "410", "422", "500", "503"},
    ("get", "/calibration"): {"200", "401", "403", "422", "500", "503"},
    ("get", "/models"): {"200", "304", "401", "403", "422", "500", "503"},
    ("get", "/calibration/history"): {"200", "401", "403", "422", "500", "503"},
    ("get", "/status"): {"200", "401", "403", "500", "503"},
    ("get", "/models/{name}/promotions"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("get", "/models/{name}"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("post", "/models/{name}/load"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("post", "/models/{name}/unload"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("post", "/models/{name}/promote"): {"200", "400", "401", "403", "404", "409", "413", "415", "422", "500", "503"},
    ("get", "/health/live"): {"200", "403"},
    ("get", "/health/ready"): {"200", "403", "503"},
    ("get", "/metrics"): {"200", "403"},
    ("get", "/v2"): {"200", "401", "403"},
    ("get", "/v2/health/live"): {"200", "403"},
    ("get", "/v2/health/ready"): {"200", "403", "503"},
    ("get", "/v2/models/{name}"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("get", "/v2/models/{name}/versions/{version}"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("get", "/v2/models/{name}/ready"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("get", "/v2/models/{name}/versions/{version}/ready"): {"200", "401", "403", "404", "409", "422", "500", "503"},
    ("post", "/v2/models/{name}/infer"): {
        "200", "400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503", "504",
    },
    ("post", "/v2/models/{name}/versions/{version}/infer"): {
        "200", "400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503", "504",
    },
}  # fmt: skip


async def _document(start: Start) -> dict[str, Any]:
    async with start() as replica:
        assert (await replica.client.get("/docs")).status_code == 200
        return (await replica.client.get("/openapi.json")).json()


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): one for path, methods in document["paths"].items() for method, one in methods.items()}


async def test_every_code_is_declared_with_the_form_of_its_protocol(start: Start) -> None:
    document = await _document(start)
    found = {
        (method, path): set(operation["responses"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert found == DECLARED
    for path, operations in document["paths"].items():
        is_open_inference = path.startswith("/v2")
        media_type = "application/json" if is_open_inference else "application/problem+json"
        form = "InferError" if is_open_inference else "Problem"
        for operation in operations.values():
            for code, response in operation["responses"].items():
                if code not in ("200", "304"):  # a 304 has no body
                    schema = {"$ref": f"#/components/schemas/{form}"}
                    assert response["content"][media_type].pop("examples")
                    assert response["content"] == {media_type: {"schema": schema}}
                    assert ("Retry-After" in response.get("headers", {})) == (code in ("429", "503"))


async def test_every_reference_leads_somewhere(start: Start) -> None:
    document = await _document(start)

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(item) for item in value.values()))
        return set().union(*(references(item) for item in value)) if isinstance(value, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas


async def test_the_document_names_its_license_its_server_and_its_parts(start: Start) -> None:
    document = await _document(start)
    assert document["info"]["license"] == {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    assert (ROOT / "LICENSE").read_text("utf-8").split()[:2] == ["Apache", "License"]
    assert document["info"]["description"]
    assert document["servers"] == [{"url": "/"}]
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert described == {tag for operation in _operations(document).values() for tag in operation["tags"]}


async def test_an_operation_says_what_it_does_what_it_needs_and_how_it_fails(start: Start) -> None:
    document = await _document(start)
    operations = _operations(document)
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations) == len(DECLARED)
    assert set(document["components"]["securitySchemes"]) == {"key"}
    for (_, path), operation in operations.items():
        assert operation["security"] == ([] if path in PUBLIC_PATHS else [{"key": []}])
        assert operation["summary"]
        assert operation["description"]
        assert any(code.startswith("4") for code in operation["responses"])
        assert all(response["description"] for response in operation["responses"].values())
        assert operation["responses"]["200"]["description"] != "Successful Response"
        assert all(parameter["description"] for parameter in operation.get("parameters", []))


async def test_the_alternatives_of_a_record_cannot_be_confused(start: Start) -> None:
    schemas = (await _document(start))["components"]["schemas"]
    told_apart = [part for schema in schemas.values() for part in schema["properties"].values() if "oneOf" in part]
    assert len(told_apart) == 2
    for part in told_apart:
        name = part["discriminator"]["propertyName"]
        for reference in part["oneOf"]:
            assert name in schemas[reference["$ref"].rpartition("/")[2]]["required"]


async def test_the_request_has_the_fields_of_this_version(start: Start) -> None:
    schemas = (await _document(start))["components"]["schemas"]
    request = schemas["PredictRequest"]
    assert set(request["properties"]) == {
        "question", "options", "context", "model", "abstain_below", "coverage", "task", "idempotency_key", "tags"
    }  # fmt: skip
    assert request["additionalProperties"] is False
    assert (request["properties"]["options"]["minItems"], request["properties"]["options"]["maxItems"]) == (2, 26)
    assert schemas["BatchRequest"]["properties"]["questions"]["items"] == {
        "$ref": "#/components/schemas/PredictRequest"
    }
