"""schemathesis over a running service: all phases and checks, and the reasons for which valid data may be rejected."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import RejectedPositiveData

from uq4ct.model_store.questions import Question, QuestionError

# Rejections for size, a full queue or a rate limit do not depend on the validity of the data.
_VALID_DATA_MAY_GET = ["2xx", "401", "403", "404", "409", "410", "413", "429"]
_NOT_OF_EVERY_MODEL = ("feu", "error_score", "threshold", "prediction_set", "coverage")  # outputs
_TOO_LONG = "urn:uq4ct:problem:question-too-long"


@dataclass
class Findings:
    """The findings of a run: requests by phase, responses by operation and status, and failures as text."""

    requests: Counter[str] = field(default_factory=Counter)
    responses: Counter[tuple[str, int]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def statuses(self, operation: str) -> set[int]:
        """Return the statuses that an operation answered with."""
        return {status for label, status in self.responses if label == operation}


def fuzz(address: str, key: str, *, examples: int, phases: dict[str, Any], deterministic: bool = False) -> Findings:
    """Run the phases against the service at an address, up to `examples` cases for each operation.

    `key` is a valid key of the service: without keys its OpenAPI document would declare one that it ignores.
    """
    config = {
        "auth": {"openapi": {"key": {"bearer": key}}},
        "generation": {"mode": "all", "max-examples": examples, "deterministic": deterministic, "database": "none"},
        "checks": {"positive_data_acceptance": {"expected-statuses": _VALID_DATA_MAY_GET}},
        "phases": phases,
    }
    schema = schemathesis.openapi.from_url(
        f"{address}/openapi.json", config=SchemathesisConfig.from_dict(config), timeout=30
    )
    schema.hook("filter_failure")(_is_failure)
    findings = Findings()
    for event in from_schema(schema).execute():
        _record(findings, event)
    return findings


def _record(findings: Findings, event: events.EngineEvent) -> None:
    if isinstance(event, events.NonFatalError | events.FatalError):
        findings.failures.append(str(event))
    if not isinstance(event, events.ScenarioFinished):
        return
    recorder = event.recorder
    for identifier, interaction in recorder.interactions.items():
        findings.requests[event.phase.value] += 1
        if interaction.response is not None and identifier in recorder.cases:
            label = recorder.cases[identifier].value.operation.label
            findings.responses[label, interaction.response.status_code] += 1
    for identifier, checks in recorder.checks.items():
        case = recorder.cases[identifier].value
        findings.failures += [
            f"{check.name} in {event.phase.value}: {case.operation.label} {case!r}: {check.failure_info.failure}"
            for check in checks
            if check.failure_info is not None
        ]


def _is_failure(context: object, failure: Failure, case: schemathesis.Case, response: Response) -> bool:
    """Return False where a schema cannot express the service's contract."""
    if isinstance(failure, RejectedPositiveData):
        return not (response.status_code == 422 and _may_be_refused(case, response))
    if isinstance(failure, AcceptedNegativeData) and case.operation.label in (
        "POST /predict/batch",
        "POST /feedback/batch",
    ):
        # A successful response has a problem per question or label in its results.
        return not any("status" in result for result in json.loads(response.content)["results"])
    return True


def _may_be_refused(case: schemathesis.Case, response: Response) -> bool:
    body: Any = case.body
    if case.operation.label == "POST /predict":
        return not _is_question(body) or json.loads(response.content)["type"] == _TOO_LONG
    if case.operation.label == "POST /feedback":
        # The valid answers depend on the prediction.
        return [error["field"] for error in json.loads(response.content)["errors"]] == ["answer"]
    if case.operation.label == "GET /predictions":
        return float(case.query["confidence_to"]) < float(case.query["confidence_from"])
    if case.operation.label.endswith("/infer"):
        error = json.loads(response.content)["error"]
        is_absent = "no such output" in error and any(one["name"] in _NOT_OF_EVERY_MODEL for one in body["outputs"])
        return not _is_infer_request(body) or "but the limit is" in error or is_absent
    return False


def _is_question(body: dict[str, Any]) -> bool:
    try:
        Question("", body["question"], tuple(body["options"]), body.get("context"))
    except QuestionError:
        return False
    return True


def _is_infer_request(body: dict[str, Any]) -> bool:
    tensors = {tensor["name"]: tensor for tensor in body["inputs"]}
    sizes = {size for tensor in body["inputs"] for size in (*tensor["shape"], len(tensor["data"]))}
    outputs = [output["name"] for output in body.get("outputs") or ()]
    if len(outputs) != len(set(outputs)):
        return False
    if len(sizes) != 1 or len(tensors) != len(body["inputs"]) or not {"question", "options"} <= set(tensors):
        return False
    try:
        options = [json.loads(text) for text in tensors["options"]["data"]]
    except ValueError:
        return False
    if not all(isinstance(own, list) and all(isinstance(option, str) for option in own) for own in options):
        return False
    rows = zip(tensors["question"]["data"], options, strict=True)
    return all(_is_question({"question": text, "options": own}) for text, own in rows)
