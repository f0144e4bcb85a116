"""Why a call of the client has no answer."""

from __future__ import annotations

import httpx2
from pydantic import ValidationError

from uq4ct.service.client.records import Problem


class ClientError(Exception):
    """A call without an answer."""


class UnreachableError(ClientError):
    """No response came, as often as it was tried."""


class UnreadableResponseError(ClientError):
    """A response of success whose body is not what the service says it sends."""


class ServiceError(ClientError):
    """A response other than of success; `problem` is None where something in front of the service sent it."""

    def __init__(self, status: int, problem: Problem | None) -> None:
        super().__init__(f"{status} {problem.title}: {problem.detail}" if problem else f"{status} without a problem")
        self.status = status
        self.problem = problem


class InvalidRequestError(ServiceError):
    """The request is not one that can be answered; asking again gives the same."""


class NotAllowedError(ServiceError):
    """401 or 403: there is no valid key, or it may not do this."""


class NotFoundError(ServiceError):
    """404 or 410: no such model or prediction, or not any more."""


class ConflictError(ServiceError):
    """409: what was said before is something else."""


class UnavailableError(ServiceError):
    """429, 503 or 504: not now."""


class ServiceFailedError(ServiceError):
    """Any other 5xx: the service or something in front of it failed."""


UNANSWERED = (UnreachableError, UnavailableError, ServiceFailedError)  # the service cannot answer, whoever is to blame

_BY_STATUS = {
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
    """The error that a response means, with its problem document where it has one."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        problem = None
    status = response.status_code
    kind = _BY_STATUS.get(status, ServiceFailedError if status >= 500 else InvalidRequestError)
    return kind(status, problem)
