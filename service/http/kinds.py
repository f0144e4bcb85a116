"""The kinds of problems, and groups of them that routes can return."""

from __future__ import annotations

from dataclasses import dataclass

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: the last part of its `type`, its status and its title."""

    slug: str
    status: int
    title: str

    @property
    def type(self) -> str:
        """The `type` of problem documents of this kind."""
        return f"urn:uq4ct:problem:{self.slug}"

    @property
    def reason(self) -> str:
        """The value of the label `reason` in the metric of rejected questions."""
        return self.slug.replace("-", "_")


MALFORMED_REQUEST = Kind("malformed-request", 400, "The request is not well-formed HTTP/1.1")
MALFORMED_JSON = Kind("malformed-json", 400, "The body is not well-formed JSON")
UNAUTHORIZED = Kind("unauthorized", 401, "A valid API key is required")
FORBIDDEN = Kind("forbidden", 403, "The key lacks the required scope")
FOREIGN_HOST = Kind("foreign-host", 403, "The Host header names another host")
FOREIGN_ORIGIN = Kind("foreign-origin", 403, "A page of another site sent the request")
UNKNOWN_MODEL = Kind("unknown-model", 404, "No such model is registered")
MODEL_NOT_LOADED = Kind("model-not-loaded", 404, "The model is registered but not loaded on this replica")
MODEL_UNLOADABLE = Kind("model-unloadable", 409, "The model is registered but cannot be loaded")
WRONG_BASE = Kind("wrong-base", 409, "The model was trained on a different base model")
DEFAULT_MODEL = Kind("default-model", 409, "The default model cannot be unloaded")
STORE_READ_ONLY = Kind("store-read-only", 409, "The model store is read-only")
UNKNOWN_PREDICTION = Kind("unknown-prediction", 404, "There is no such prediction")
TOO_SLOW = Kind("too-slow", 408, "The request did not arrive in time")
LABEL_CONFLICT = Kind("label-conflict", 409, "The prediction already has a different label")
IDEMPOTENCY_CONFLICT = Kind("idempotency-conflict", 409, "Idempotency key already used with a different body")
PAST_RETENTION = Kind("past-retention", 410, "The prediction is older than the retention period")
TOO_LARGE = Kind("too-large", 413, "The body or the batch is too large")
TARGET_TOO_LONG = Kind("target-too-long", 414, "The request target is too long")
NOT_JSON = Kind("unsupported-media-type", 415, "The body must be application/json")
UNSUPPORTED_CODING = Kind("unsupported-content-coding", 415, "The content coding of the body is not supported")
INVALID_FIELD = Kind("invalid-field", 422, "A field is missing, unknown or invalid")
QUESTION_TOO_LONG = Kind("question-too-long", 422, "The question is longer than the model's window")
QUEUE_FULL = Kind("queue-full", 429, "Too many questions are waiting")
RATE_LIMITED = Kind("rate-limited", 429, "The key has exceeded its rate limit")
HEAD_TOO_LARGE = Kind("head-too-large", 431, "The header of the request is too large")
# 499 is nginx's code; it appears only in metrics and logs.
CLIENT_GONE = Kind("client-gone", 499, "The client closed the connection")
INTERNAL = Kind("internal-error", 500, "Internal error")
FORWARD_FAILED = Kind("forward-failed", 500, "The model failed on this question's batch")
UNSUPPORTED_REQUEST = Kind("unsupported-request", 501, "The server does not support this kind of request")
NOT_READY = Kind("not-ready", 503, "The service is not ready")
MODEL_EVICTED = Kind("model-evicted", 503, "The model was evicted from memory")
NOT_VISIBLE_YET = Kind("not-visible-yet", 503, "Another replica may still be writing the prediction")
STORE_UNAVAILABLE = Kind("store-unavailable", 503, "The model store does not answer")
LEDGER_UNAVAILABLE = Kind("ledger-unavailable", 503, "The ledger is unavailable")
OUT_OF_MEMORY = Kind("out-of-memory", 503, "There is not enough memory")
DRAINING = Kind("draining", 503, "The service is shutting down")
TOO_MANY_CONNECTIONS = Kind("too-many-connections", 503, "Too many connections are open")
DEADLINE_PASSED = Kind("deadline-passed", 504, "The question was not answered in time")
UNSUPPORTED_VERSION = Kind("unsupported-version", 505, "The server speaks HTTP/1.1 and HTTP/1.0")

# Groups of kinds for the declarations of routes.
AUTHENTICATED = (UNAUTHORIZED, FORBIDDEN, FOREIGN_HOST, FOREIGN_ORIGIN)
FAILING = (INTERNAL, OUT_OF_MEMORY)
JSON_BODY = (MALFORMED_JSON, TOO_LARGE, NOT_JSON, UNSUPPORTED_CODING, INVALID_FIELD, *FAILING)
ASKING = (QUEUE_FULL, RATE_LIMITED, NOT_READY, DRAINING)  # of a whole request
ANSWERING = (
    UNKNOWN_MODEL,
    MODEL_UNLOADABLE,
    WRONG_BASE,
    QUESTION_TOO_LONG,
    FORWARD_FAILED,
    STORE_UNAVAILABLE,
    MODEL_EVICTED,
    DEADLINE_PASSED,
)
FINDING_PREDICTION = (UNKNOWN_PREDICTION, PAST_RETENTION, NOT_VISIBLE_YET, LEDGER_UNAVAILABLE)
FINDING_MODEL = (UNKNOWN_MODEL, MODEL_UNLOADABLE, INVALID_FIELD, STORE_UNAVAILABLE, *FAILING)
CHANGING_MODEL = (*FINDING_MODEL, NOT_READY, DRAINING)
