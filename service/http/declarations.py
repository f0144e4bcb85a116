"""What routes declare in OpenAPI: the problems that they can return, and examples of those and of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uq4ct.service.http import kinds as of
from uq4ct.service.http.kinds import INVALID_FIELD, MEDIA_TYPE, UNAUTHORIZED, Kind
from uq4ct.service.schemas.common import FieldError, Problem
from uq4ct.service.schemas.examples import PREDICTION_ID, REQUEST_ID

Responses = dict[int | str, dict[str, Any]]

NO_KEY: dict[str, Any] = {"security": []}  # `openapi_extra` of a public route
MISSING_QUESTION = FieldError(field="question", message="Field required")

# The detail of an example of each kind that a route declares, in the words of the code that raises it.
DETAILS: Mapping[Kind, str] = {
    of.MALFORMED_JSON: "Expecting ',' delimiter at character 52",
    of.UNAUTHORIZED: "the header `Authorization: Bearer <key>` is missing",
    of.FORBIDDEN: "the key lacks the scope admin",
    of.FOREIGN_HOST: "Host is 'rebound.example' (allowed: localhost, loopback addresses and UQ4CT_ALLOWED_HOSTS)",
    of.FOREIGN_ORIGIN: "Origin is 'https://other.example': only pages of this service may send this request",
    of.UNKNOWN_MODEL: "no adapter arc-easy@9 is registered",
    of.MODEL_NOT_LOADED: "arc-easy@2 is not loaded on this replica",
    of.MODEL_UNLOADABLE: "arc-easy@2: manifest.json has format 2 (supported: up to 1)",
    of.WRONG_BASE: "arc-easy@2 was trained on a different base model",
    of.DEFAULT_MODEL: "arc-easy@3 is the default model and cannot be unloaded",
    of.STORE_READ_ONLY: "cannot change arc-easy@production: the store is not writable",
    of.UNKNOWN_PREDICTION: f"no prediction {PREDICTION_ID}",
    of.LABEL_CONFLICT: f"{PREDICTION_ID} already has the label B",
    of.IDEMPOTENCY_CONFLICT: "idempotency_key already used with a different body",
    of.PAST_RETENTION: f"{PREDICTION_ID} is older than 365 days",
    of.TOO_LARGE: "the body is larger than 2000000 bytes",
    of.NOT_JSON: "Content-Type is 'text/plain'",
    of.UNSUPPORTED_CODING: "Content-Encoding is 'br' (supported: one of gzip, deflate)",
    of.QUESTION_TOO_LONG: "the question with its options has 2310 tokens, but the limit is 2048",
    of.QUEUE_FULL: "queue full (limit: 512 questions)",
    of.RATE_LIMITED: "rate limit of the key exceeded (limit: 600 questions per minute)",
    of.INTERNAL: "unexpected error; search the logs for the request id",
    of.FORWARD_FAILED: "the model returned an unusable answer",
    of.NOT_READY: "the model is being loaded",
    of.MODEL_EVICTED: "arc-easy@2 was evicted from memory, because more adapters are in use than fit, and is not "
    "loaded again for another 4 seconds",
    of.NOT_VISIBLE_YET: f"{PREDICTION_ID} is not written yet",
    of.STORE_UNAVAILABLE: "the model store gave no answer in 10 seconds",
    of.LEDGER_UNAVAILABLE: "the database cannot be reached or written",
    of.OUT_OF_MEMORY: "the request needs more memory than is free",
    of.DRAINING: "the replica is shutting down",
    of.DEADLINE_PASSED: "not answered in 30 seconds",
}


def declare(*kinds: Kind, invalid: FieldError = MISSING_QUESTION) -> Responses:
    """Return the `responses` of a route that can return these problems, with an example of each; kinds may repeat.

    Args:
        invalid: the invalid field in the example of that kind.
    """
    declared: Responses = {}
    for kind in dict.fromkeys(kinds):
        known = declared.get(kind.status)
        response = {
            "description": f"{known['description']}; {kind.title}" if known else kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
        }
        if known:
            response["content"] = known["content"]
        response["content"][MEDIA_TYPE]["examples"][kind.slug] = {"value": _problem(kind, invalid)}
        if kind is UNAUTHORIZED:
            response["headers"] = {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}}
        if kind.status in (429, 503):
            response["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
        declared[kind.status] = response
    return declared


def such_as(value: object) -> dict[str, Any]:
    """Return the `openapi_examples` of a parameter: this one value."""
    return {"example": {"value": value}}


def _problem(kind: Kind, invalid: FieldError) -> dict[str, Any]:
    is_of_field = kind is INVALID_FIELD
    return Problem(
        type=kind.type,
        title=kind.title,
        status=kind.status,
        detail=f"{invalid.field}: {invalid.message}" if is_of_field else DETAILS[kind],
        request_id=REQUEST_ID,
        errors=[invalid] if is_of_field else [],
    ).model_dump(mode="json")
