"""The errors of the client's calls."""

from __future__ import annotations

import httpx2
from pydantic import ValidationError

from uq4ct.service.client.records import Problem


class ClientError(Exception):
    """A call failed, or a client cannot be made."""


class InvalidArgumentError(ClientError, ValueError, TypeError):
    """An argument with which no request can be made; the message names it."""


class ClosedClientError(ClientError, RuntimeError):
    """The client was closed before this call."""


class UnusableProxyError(ClientError):
    """The proxy that the environment names cannot be used; the message names it."""


class UnreachableError(ClientError):
    """No response in any of the attempts."""


class UnreadableResponseError(ClientError):
    """A successful response whose body has an unexpected form."""


class ServiceError(ClientError):
    """An error response; `problem` is None if something in front of the service, such as a proxy, sent it."""

    def __init__(self, status: int, problem: Problem | None) -> None:
        super().__init__(
            f"{status} {problem.title}: {problem.detail}" if problem else f"{status} without a problem document"
        )
        self.status = status
        self.problem = problem


class InvalidRequestError(ServiceError):
    """The request cannot be answered, and repeating it does not help."""


class NotAllowedError(ServiceError):
    """401 or 403: the key is missing or invalid, or lacks the required scope."""


class NotFoundError(ServiceError):
    """404 or 410: no such model or prediction, or it has been deleted."""


class ConflictError(ServiceError):
    """409: the request conflicts with the current state."""


class UnavailableError(ServiceError):
    """429, 503 or 504: temporarily unavailable."""


class ServiceFailedError(ServiceError):
    """Any other 5xx: the service or something in front of it failed."""


UNANSWERED = (UnreachableError, UnavailableError, ServiceFailedError)  # the service cannot answer, for whatever reason

_BY_STATUS: dict[int, type[ServiceError]] = {
    401: NotAllowedError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    429: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def error_of(response: httpx2.Response) -> ServiceError:
    """Return the error for a response, with its problem document, if any."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        problem = None
    return _of_status(response.status_code, problem)


def error_of_item(problem: Problem) -> ServiceError:
    """Return the error for one item of a batch."""
    return _of_status(problem.status, problem)


def _of_status(status: int, problem: Problem | None) -> ServiceError:
    kind = _BY_STATUS.get(status, ServiceFailedError if status >= 500 else InvalidRequestError)
    return kind(status, problem)
