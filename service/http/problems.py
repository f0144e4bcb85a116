"""Problem documents (RFC 9457) and the table that maps exceptions to them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException

from uq4ct.model_store.published import WrongBaseError
from uq4ct.model_store.questions import QuestionError
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.model_store.storage.errors import FileError, NewerFormatError, UnreadableFileError
from uq4ct.service.access.rate_limit import RateLimitedError
from uq4ct.service.engine.failures import (
    DeadlinePassedError,
    DefaultModelError,
    DrainingError,
    ForwardFailedError,
    LoadFailedError,
    ModelEvictedError,
    NoRoomError,
    NotReadyError,
    QueueFullError,
    RequestTooLargeError,
    StoreReadOnlyError,
    StoreUnavailableError,
    UnknownModelError,
    WorkerDiedError,
)
from uq4ct.service.http.kinds import (
    DEADLINE_PASSED,
    DEFAULT_MODEL,
    DRAINING,
    FORWARD_FAILED,
    IDEMPOTENCY_CONFLICT,
    INTERNAL,
    INVALID_FIELD,
    LABEL_CONFLICT,
    LEDGER_UNAVAILABLE,
    MODEL_EVICTED,
    MODEL_UNLOADABLE,
    NOT_READY,
    NOT_VISIBLE_YET,
    OUT_OF_MEMORY,
    PAST_RETENTION,
    QUESTION_TOO_LONG,
    QUEUE_FULL,
    RATE_LIMITED,
    STORE_READ_ONLY,
    STORE_UNAVAILABLE,
    TOO_LARGE,
    UNKNOWN_MODEL,
    UNKNOWN_PREDICTION,
    WRONG_BASE,
    Kind,
)
from uq4ct.service.ledger.failures import (
    AnswerOutsideError,
    IdempotencyConflictError,
    LabelConflictError,
    LedgerUnavailableError,
    NotVisibleYetError,
    PastRetentionError,
    UnknownPredictionError,
)
from uq4ct.service.schemas.common import FieldError, Problem

_SHOWN_ERRORS = 20
_SHOWN_CHARACTERS = 120
_RETRY_SOON = {"Retry-After": "1"}

logger = logging.getLogger(__name__)


class ProblemError(HTTPException):
    """A problem to return to the client; an HTTPException because FastAPI passes only those through everywhere."""

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
        """Return the problem document for this request."""
        return Problem(
            type=self.kind.type,
            title=self.kind.title,
            status=self.kind.status,
            detail=self.detail,
            request_id=request_id,
            errors=self.errors,
            **self.counts,
        )


INTERNAL_ERROR = ProblemError(INTERNAL, "unexpected error; search the logs for the request id")
OUT_OF_MEMORY_ERROR = ProblemError(OUT_OF_MEMORY, "the request needs more memory than is free", headers=_RETRY_SOON)


def explain(error: Exception) -> ProblemError:
    """Return the problem for an exception; unexpected exceptions are logged and become internal errors."""
    for kind_of_error in type(error).__mro__:
        if kind_of_error in _PROBLEMS:
            return _PROBLEMS[kind_of_error](error)
    logger.error("unexpected error", exc_info=error)
    return INTERNAL_ERROR


def invalid_fields(errors: Sequence[FieldError]) -> ProblemError:
    """Return the problem of one or more invalid fields; the detail names the first."""
    return ProblemError(INVALID_FIELD, f"{errors[0].field}: {errors[0].message}", errors[:_SHOWN_ERRORS])


def field_errors(errors: Sequence[ErrorDetails | Any], skip: int = 0) -> list[FieldError]:
    """Convert Pydantic's errors, omitting the client's values and the first `skip` parts of each location."""
    return [
        FieldError(
            field=shown(".".join(str(part) for part in error["loc"][skip:]) or "body"), message=shown(error["msg"])
        )
        for error in errors[:_SHOWN_ERRORS]
    ]


def shown(text: str) -> str:
    """Prepare a client's text for a problem: truncate it and escape lone surrogates, which UTF-8 cannot encode."""
    return text[:_SHOWN_CHARACTERS].encode("utf-8", "backslashreplace").decode()


def _tell_out_of_memory(error: MemoryError) -> ProblemError:
    logger.error("out of memory", exc_info=error)
    return OUT_OF_MEMORY_ERROR


def _load_problem(error: LoadFailedError) -> ProblemError:
    """Explain why an adapter was not loaded, without showing paths."""
    cause = error.cause
    match cause:
        case WrongBaseError():
            return ProblemError(WRONG_BASE, f"{error.reference} was trained on a different base model")
        case FileError():
            return ProblemError(MODEL_UNLOADABLE, f"{error.reference}: {damage(cause)}")
        case NoRoomError():
            return ProblemError(MODEL_UNLOADABLE, str(cause))
        case _:
            return ProblemError(MODEL_UNLOADABLE, f"{error}: {type(cause).__name__}; see the logs")


def damage(error: FileError) -> str:
    """Explain what is wrong with a stored file, without showing its path or content."""
    if isinstance(error, NewerFormatError):
        return f"{error.path.name} has format {error.found} (supported: up to {error.supported})"
    if isinstance(error, UnreadableFileError):
        return f"{error.path.name} cannot be read: {error.reason}"
    return f"{error.path.name} cannot be used: {type(error).__name__}"


def _tell(
    kind: Kind,
    detail: Callable[[Any], str] = str,
    headers: Callable[[Any], Mapping[str, str]] | None = None,
    counts: Sequence[str] = (),
) -> Callable[[Any], ProblemError]:
    """Return a function that turns exceptions into problems of this kind, copying the attributes in `counts`."""

    def tell(error: Any) -> ProblemError:
        return ProblemError(
            kind,
            detail(error),
            headers=None if headers is None else headers(error),
            **{name: getattr(error, name) for name in counts},
        )

    return tell


def _retry_soon(_: Exception) -> Mapping[str, str]:
    return _RETRY_SOON


def _retry_after(error: QueueFullError | RateLimitedError | ModelEvictedError) -> Mapping[str, str]:
    return {"Retry-After": str(error.retry_after)}


# The problem for each exception class; other classes use their nearest ancestor in this table.
_PROBLEMS: dict[type, Callable[[Any], ProblemError]] = {
    ProblemError: lambda error: error,
    MemoryError: _tell_out_of_memory,
    QuestionError: lambda error: invalid_fields([FieldError(field=shown(error.field), message=shown(error.message))]),
    AnswerOutsideError: lambda error: invalid_fields([FieldError(field="answer", message=str(error))]),
    QuestionTooLongError: lambda error: ProblemError(
        QUESTION_TOO_LONG, str(error), limit=error.limit, **{error.unit: error.length}
    ),
    RequestTooLargeError: _tell(TOO_LARGE, counts=("tokens", "limit")),
    QueueFullError: _tell(QUEUE_FULL, headers=_retry_after, counts=("limit",)),
    RateLimitedError: _tell(RATE_LIMITED, headers=_retry_after, counts=("limit",)),
    NotReadyError: _tell(NOT_READY, lambda error: f"the model is {error}", _retry_soon),
    DrainingError: _tell(DRAINING, headers=lambda _: {**_RETRY_SOON, "Connection": "close"}),
    ForwardFailedError: _tell(FORWARD_FAILED),
    WorkerDiedError: _tell(FORWARD_FAILED),
    DeadlinePassedError: _tell(DEADLINE_PASSED),
    UnknownModelError: _tell(UNKNOWN_MODEL),
    LoadFailedError: _load_problem,
    ModelEvictedError: _tell(MODEL_EVICTED, headers=_retry_after),
    DefaultModelError: _tell(DEFAULT_MODEL),
    StoreReadOnlyError: _tell(STORE_READ_ONLY),
    StoreUnavailableError: _tell(STORE_UNAVAILABLE, headers=_retry_soon),
    UnknownPredictionError: _tell(UNKNOWN_PREDICTION),
    PastRetentionError: _tell(PAST_RETENTION),
    NotVisibleYetError: _tell(NOT_VISIBLE_YET, headers=_retry_soon),
    LabelConflictError: _tell(LABEL_CONFLICT),
    IdempotencyConflictError: _tell(IDEMPOTENCY_CONFLICT),
    LedgerUnavailableError: _tell(
        LEDGER_UNAVAILABLE, lambda _: "the database cannot be reached or written", _retry_soon
    ),
}
