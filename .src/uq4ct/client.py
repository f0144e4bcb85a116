"""The client of the service; needs only httpx2 and pydantic."""

from uq4ct.service.client.calls import Answered, Ask, AsyncFallback, Declined, Fallback, Label
from uq4ct.service.client.client import AsyncClient, Client
from uq4ct.service.client.errors import (
    ClientError,
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    ServiceError,
    ServiceFailedError,
    UnavailableError,
    UnreachableError,
    UnreadableResponseError,
    UnusableProxyError,
)
from uq4ct.service.client.records import (
    Calibration,
    FeedbackReceipt,
    ModelCard,
    ModelList,
    Prediction,
    Problem,
    StoredPrediction,
)
from uq4ct.service.client.retries import Retries

__all__ = [
    "Answered",
    "Ask",
    "AsyncClient",
    "AsyncFallback",
    "Calibration",
    "Client",
    "ClientError",
    "ConflictError",
    "Declined",
    "Fallback",
    "FeedbackReceipt",
    "InvalidArgumentError",
    "InvalidRequestError",
    "Label",
    "ModelCard",
    "ModelList",
    "NotAllowedError",
    "NotFoundError",
    "Prediction",
    "Problem",
    "Retries",
    "ServiceError",
    "ServiceFailedError",
    "StoredPrediction",
    "UnavailableError",
    "UnreachableError",
    "UnreadableResponseError",
    "UnusableProxyError",
]
