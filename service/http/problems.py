"""Everything that can go wrong, as problem documents (RFC 9457, application/problem+json)."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.responses import Response

from uq4ct.model_store.published import WrongBaseError
from uq4ct.model_store.questions import QuestionError
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.errors import FileError, NewerFormatError
from uq4ct.service.access.rate_limit import RateLimitedError
from uq4ct.service.engine.failures import (
    DeadlinePassedError,
    DefaultModelError,
    DrainingError,
    ForwardFailedError,
    LoadFailedError,
    NoRoomError,
    NotReadyError,
    QueueFullError,
    RequestTooLargeError,
    StoreReadOnlyError,
    UnknownModelError,
    WorkerDiedError,
)
from uq4ct.service.ledger.failures import (
    AnswerOutsideError,
    IdempotencyConflictError,
    LabelConflictError,
    LedgerUnavailableError,
    NotVisibleYetError,
    PastRetentionError,
    RefusedError,
    UnknownPredictionError,
)
from uq4ct.service.schemas.predict import FieldError, Problem

MEDIA_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:uq4ct:problem:"
_SHOWN_ERRORS = 20
_SHOWN_CHARACTERS = 120
_RETRY_SOON = {"Retry-After": "1"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: the last part of its `type`, its status and its title."""

    slug: str
    status: int
    title: str

    @property
    def reason(self) -> str:
        """As the metric of rejected questions calls it."""
        return self.slug.replace("-", "_")


MALFORMED_JSON = Kind("malformed-json", 400, "The body is not well-formed JSON")
UNAUTHORIZED = Kind("unauthorized", 401, "A valid key is needed")
FORBIDDEN = Kind("forbidden", 403, "The key does not have the scope")
UNKNOWN_MODEL = Kind("unknown-model", 404, "No such model is registered")
MODEL_NOT_LOADED = Kind("model-not-loaded", 404, "The model is registered, but not loaded here")
MODEL_UNLOADABLE = Kind("model-unloadable", 409, "The model is registered, but cannot be loaded here")
WRONG_BASE = Kind("wrong-base", 409, "The model belongs to another base model than the one loaded here")
DEFAULT_MODEL = Kind("default-model", 409, "The default model cannot be unloaded")
STORE_READ_ONLY = Kind("store-read-only", 409, "The model store cannot be changed from here")
UNKNOWN_PREDICTION = Kind("unknown-prediction", 404, "There is no such prediction")
LABEL_CONFLICT = Kind("label-conflict", 409, "The prediction has another label already")
IDEMPOTENCY_CONFLICT = Kind("idempotency-conflict", 409, "The idempotency key came before, with another body")
PAST_RETENTION = Kind("past-retention", 410, "The prediction is older than the ledger keeps")
TOO_LARGE = Kind("too-large", 413, "The body or the batch is too large")
NOT_JSON = Kind("unsupported-media-type", 415, "The body must be application/json")
INVALID_FIELD = Kind("invalid-field", 422, "A field is missing, unknown or invalid")
QUESTION_TOO_LONG = Kind("question-too-long", 422, "The question is longer than the model's window")
QUEUE_FULL = Kind("queue-full", 429, "Too many questions are waiting")
RATE_LIMITED = Kind("rate-limited", 429, "The key has asked its questions of this minute")
CLIENT_GONE = Kind("client-gone", 499, "The client closed the request")  # nginx's code; seen in metrics and logs only
INTERNAL = Kind("internal-error", 500, "The service failed")
FORWARD_FAILED = Kind("forward-failed", 500, "The model failed on this question's batch")
NOT_READY = Kind("not-ready", 503, "The service is not ready")
NOT_VISIBLE_YET = Kind("not-visible-yet", 503, "Another replica may still be writing the prediction")
LEDGER_UNAVAILABLE = Kind("ledger-unavailable", 503, "The ledger cannot be used now")
DRAINING = Kind("draining", 503, "The service is shutting down")
DEADLINE_PASSED = Kind("deadline-passed", 504, "The question was not answered in time")

_REFUSALS: dict[type[RefusedError], Kind] = {
    UnknownPredictionError: UNKNOWN_PREDICTION,
    LabelConflictError: LABEL_CONFLICT,
    IdempotencyConflictError: IDEMPOTENCY_CONFLICT,
    PastRetentionError: PAST_RETENTION,
    NotVisibleYetError: NOT_VISIBLE_YET,
}


class ProblemError(HTTPException):
    """A problem on its way to the client; an HTTPException because FastAPI lets only those pass everywhere."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        errors: Iterable[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **counts: int,
    ) -> None:
        super().__init__(kind.status, detail, headers)
        self.kind = kind
        self.errors = list(errors)
        self.counts = counts

    def document(self, request_id: str) -> Problem:
        """The problem as the client of this request sees it."""
        return Problem(
            type=_TYPE_PREFIX + self.kind.slug,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
            **self.counts,
        )


_PLAIN: dict[type[Exception], Kind] = {  # their message is for the client as it is
    UnknownModelError: UNKNOWN_MODEL,
    DefaultModelError: DEFAULT_MODEL,
    StoreReadOnlyError: STORE_READ_ONLY,
    DeadlinePassedError: DEADLINE_PASSED,
}

INTERNAL_ERROR = ProblemError(INTERNAL, "an unforeseen error; the request id finds it in the logs")


def explain(error: Exception) -> ProblemError:
    """What a client is told of an exception; anything unforeseen is logged and told as an internal error."""
    match error:
        case ProblemError():
            problem = error
        case QuestionError():
            problem = invalid_fields([FieldError(field=shown(error.field), message=shown(error.message))])
        case QuestionTooLongError() | RequestTooLargeError():
            kind = QUESTION_TOO_LONG if isinstance(error, QuestionTooLongError) else TOO_LARGE
            problem = ProblemError(kind, str(error), tokens=error.tokens, limit=error.limit)
        case QueueFullError() | RateLimitedError():
            kind = QUEUE_FULL if isinstance(error, QueueFullError) else RATE_LIMITED
            retry = {"Retry-After": str(error.retry_after)}
            problem = ProblemError(kind, str(error), headers=retry, limit=error.limit)
        case NotReadyError():
            problem = ProblemError(NOT_READY, f"the model is {error}", headers=_RETRY_SOON)
        case DrainingError():
            problem = ProblemError(DRAINING, str(error), headers={**_RETRY_SOON, "Connection": "close"})
        case ForwardFailedError() | WorkerDiedError():
            problem = ProblemError(FORWARD_FAILED, str(error))
        case LoadFailedError():
            problem = _load_problem(error)
        case UnknownModelError() | DefaultModelError() | StoreReadOnlyError() | DeadlinePassedError():
            problem = ProblemError(_PLAIN[type(error)], str(error))
        case RefusedError():
            problem = _explain_refusal(error)
        case LedgerUnavailableError():
            problem = ProblemError(LEDGER_UNAVAILABLE, "it cannot be reached or written", headers=_RETRY_SOON)
        case _:
            logger.error("unforeseen error", exc_info=error)
            problem = INTERNAL_ERROR
    return problem


def _load_problem(error: LoadFailedError) -> ProblemError:
    """Why an adapter was not loaded, without the places it lies in."""
    cause = error.cause
    match cause:
        case WrongBaseError():
            return ProblemError(WRONG_BASE, f"{error.reference} was trained on another base model")
        case FileError():
            return ProblemError(MODEL_UNLOADABLE, f"{error.reference}: {damage(cause)}")
        case NoRoomError():
            return ProblemError(MODEL_UNLOADABLE, str(cause))
        case _:
            return ProblemError(MODEL_UNLOADABLE, f"{error}: {type(cause).__name__}; the logs say more")


def damage(error: FileError) -> str:
    """What is wrong with a stored file, without its place and its content."""
    if isinstance(error, NewerFormatError):
        return f"{error.path.name} is of format {error.found}, formats up to {error.supported} are read here"
    return f"{error.path.name} cannot be trusted: {type(error).__name__}"


def _explain_refusal(error: RefusedError) -> ProblemError:
    if isinstance(error, AnswerOutsideError):
        return invalid_fields([FieldError(field="answer", message=str(error))])
    kind = _REFUSALS[type(error)]
    return ProblemError(kind, str(error), headers=_RETRY_SOON if kind is NOT_VISIBLE_YET else None)


def invalid_fields(errors: Sequence[FieldError]) -> ProblemError:
    """The problem of one or more fields; names the first in its detail."""
    return ProblemError(INVALID_FIELD, f"{errors[0].field}: {errors[0].message}", errors[:_SHOWN_ERRORS])


def field_errors(errors: Sequence[ErrorDetails | Any], skip: int = 0) -> list[FieldError]:
    """Pydantic's errors without the client's values; `skip` leading parts of a location are not of the body."""
    return [
        FieldError(
            field=shown(".".join(str(part) for part in error["loc"][skip:]) or "body"), message=shown(error["msg"])
        )
        for error in errors[:_SHOWN_ERRORS]
    ]


def shown(text: str) -> str:
    """A client's text in a problem: short, and without lone surrogates, which no encoding takes."""
    return text[:_SHOWN_CHARACTERS].encode("utf-8", "backslashreplace").decode()


def problem_response(problem: ProblemError, request_id: str) -> Response:
    """The response that carries a problem document."""
    body = json.dumps(problem.document(request_id).model_dump())
    return Response(body, problem.status_code, problem.headers, MEDIA_TYPE)


def declare(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI `responses` of a route that can end in these problems."""
    declared: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        known = declared.get(kind.status)
        response = {
            "description": f"{known['description']}; {kind.title}" if known else kind.title,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if kind is UNAUTHORIZED:
            response["headers"] = {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}}
        if kind.status in (429, 503):
            response["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
        declared[kind.status] = response
    return declared


def install_handlers(app: FastAPI) -> None:
    """Answer every exception of a route with a problem document."""
    app.add_exception_handler(HTTPException, _answer_http_exception)
    app.add_exception_handler(RequestValidationError, _answer_validation_error)


async def _answer_http_exception(request: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return problem_response(error, request.state.request_id)
    if not isinstance(error, HTTPException):
        raise TypeError(f"{type(error).__name__} is not an HTTPException") from error
    # From the router: no such path, or no such method on it.
    kind = Kind(error.detail.lower().replace(" ", "-"), error.status_code, error.detail)
    problem = ProblemError(kind, f"{request.method} {shown(request.url.path)}", headers=error.headers)
    return problem_response(problem, request.state.request_id)


async def _answer_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"{type(error).__name__} is not a RequestValidationError") from error
    problem = invalid_fields(field_errors(error.errors(), skip=1))
    return problem_response(problem, request.state.request_id)
