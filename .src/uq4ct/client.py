"""The client of the service; needs only httpx2 and pydantic."""

from uq4ct.service.client.async_client import AsyncClient
from uq4ct.service.client.bodies import Ask, Label
from uq4ct.service.client.calibration_records import Calibration
from uq4ct.service.client.client import Client
from uq4ct.service.client.csv_files import CsvReport
from uq4ct.service.client.errors import (
    ClientError,
    ClosedClientError,
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
from uq4ct.service.client.fallbacks import Answered, AsyncFallback, Declined, Fallback
from uq4ct.service.client.records import (
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
    "ClosedClientError",
    "ConflictError",
    "CsvReport",
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
