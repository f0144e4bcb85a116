"""Requests that schemathesis derives from the OpenAPI document get no 5xx, undeclared status or invalid response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.benchmarks.served import running_service
from tests.contract.fuzzing import Findings, fuzz
from tests.service.access.key_holder import KeyHolder

CASES = 2000
ANSWERING = ("POST /predict", "POST /predict/batch", "POST /v2/models/{name}/infer")


def check(findings: Findings) -> None:
    """Check that nothing failed, and that the run passed the validation: some requests were answered."""
    assert findings.failures == []
    for operation in ANSWERING:
        assert 200 in findings.statuses(operation), operation
        assert 422 in findings.statuses(operation) or operation == "POST /predict/batch"
    assert not any(status >= 500 for _, status in findings.responses)


@pytest.mark.slow
def test_a_few_cases_with_the_fake_predictor(fake_service: str, keys: KeyHolder) -> None:
    phases = {"stateful": {"max-steps": 4, "generation": {"max-examples": 2}}}
    findings = fuzz(fake_service, keys.key("k"), examples=5, phases=phases, deterministic=True)
    check(findings)
    assert set(findings.requests) == {"examples", "coverage", "fuzzing", "stateful"}


@pytest.mark.slow
def test_thousands_of_cases_with_a_real_adapter(publish_tiny: Callable[..., Any], keys: KeyHolder) -> None:
    published = publish_tiny(name="arc-easy")  # as in the examples of the API
    with running_service(published.registry.root, DTYPE="float32", API_KEYS_FILE=str(keys.file)) as service:
        findings = fuzz(
            service.address,
            keys.key("k"),
            examples=100,
            phases={"stateful": {"generation": {"max-examples": 120}}},
        )
        assert httpx2.get(f"{service.address}/health/ready", timeout=5).status_code == 200
    check(findings)
    assert findings.requests.total() >= CASES, findings.requests
    assert findings.requests["stateful"] > 0
