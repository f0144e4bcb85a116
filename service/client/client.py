"""A client of the service that needs only httpx2 and pydantic, not torch or the rest of this project."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from uq4ct.service.client.arguments import authorization, check_timeout, read_base_url
from uq4ct.service.client.calls import (
    Answered,
    Ask,
    AskOptions,
    AsyncFallback,
    CallFallback,
    Calls,
    Fallback,
    Label,
    Send,
    Steps,
    Wait,
)
from uq4ct.service.client.errors import InvalidArgumentError
from uq4ct.service.client.proxies import find_proxy, open_transport
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

T = TypeVar("T")
DEFAULT_RETRIES = Retries()


def new_key() -> str:
    """Return a new idempotency key."""
    return str(uuid.uuid4())


class Client:
    """A client of the service with retries; every method raises `ClientError` on failure.

    A service on loopback is reached directly, any other as HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say.

    Args:
        base_url: address of the service, such as http://127.0.0.1:8000.
        api_key: API key, if the service requires one.
        timeout: seconds to connect, and to receive each part of the response. Keep it above the service's
            UQ4CT_REQUEST_TIMEOUT_SECONDS, so that a late question gets a 504 instead of being sent again while it still
            runs.
        retries: number of attempts and waits between them.
        transport: replaces the network, for tests.
        sleep, clock, chance: wait for seconds, return seconds since 1970, return a random number in [0, 1).

    Raises:
        InvalidArgumentError: an argument is invalid; the message names it.
        UnusableProxyError: the environment names a proxy that cannot be used.
    """

    def __init__(  # noqa: PLR0913  # all but the first are keywords with defaults
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 45.0,
        retries: Retries = DEFAULT_RETRIES,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        url, headers, seconds = read_base_url(base_url), authorization(api_key), check_timeout(timeout)
        proxy = None if transport is not None else find_proxy(url)
        self._calls = Calls(retries, chance, clock, new_key, proxy)
        transport = transport or open_transport(httpx2.HTTPTransport, proxy)
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=seconds, transport=transport)
        self._sleep = sleep

    def predict(self, question: str, options: Sequence[str], **extra: Unpack[AskOptions]) -> Prediction:
        """Answer one question."""
        return self._run(self._calls.predict(question, options, **extra))

    def predict_batch(self, questions: Sequence[Ask]) -> list[Prediction | Problem]:
        """Answer several questions: one answer or problem per question, in the same order."""
        return self._run(self._calls.predict_batch(questions))

    def answer_or(
        self, question: str, options: Sequence[str], fallback: Fallback[T], **extra: Unpack[AskOptions]
    ) -> Answered[T]:
        """Return the service's answer, or the fallback's if the service abstains or cannot answer within the retries.

        An invalid request raises an error and does not call the fallback.
        """
        return self._run(self._calls.answer_or(question, options, fallback, **extra))

    def feedback(self, label: Label) -> FeedbackReceipt:
        """Report the correct option of an earlier prediction."""
        return self._run(self._calls.feedback(label))

    def feedback_batch(self, labels: Sequence[Label]) -> list[FeedbackReceipt | Problem]:
        """Report several correct options: one receipt or problem per label, in the same order."""
        return self._run(self._calls.feedback_batch(labels))

    def prediction(self, prediction_id: str) -> StoredPrediction:
        """Return a stored prediction and its label, if any."""
        return self._run(self._calls.prediction(prediction_id))

    def models(self) -> ModelList:
        """List every registered adapter version."""
        return self._run(self._calls.models())

    def model(self, name: str) -> ModelCard:
        """Return one registered version, given as name (its production version), name@version or name@alias."""
        return self._run(self._calls.model(name))

    def calibration(self, window: str | None = None, model: str | None = None) -> Calibration:
        """Return the live calibration of a window such as 24h, for all models or one."""
        return self._run(self._calls.calibration(window, model))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            match step:
                case Send():
                    outcome = self._send(step)
                case Wait(seconds):
                    outcome = self._sleep(seconds)
                case CallFallback(fallback, declined):
                    outcome = fallback(declined)

    def _send(self, send: Send) -> httpx2.Response | httpx2.RequestError:
        request = _build_request(self._http, send)
        try:
            return self._http.send(request)
        except httpx2.RequestError as error:
            return error


class AsyncClient:
    """`Client` for asyncio; a fallback may be a plain function or a coroutine function.

    Args: as for `Client`, but `transport` and `sleep` are asynchronous.
    """

    def __init__(  # noqa: PLR0913  # all but the first are keywords with defaults
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float = 45.0,
        retries: Retries = DEFAULT_RETRIES,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        url, headers, seconds = read_base_url(base_url), authorization(api_key), check_timeout(timeout)
        proxy = None if transport is not None else find_proxy(url)
        self._calls = Calls(retries, chance, clock, new_key, proxy)
        transport = transport or open_transport(httpx2.AsyncHTTPTransport, proxy)
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=seconds, transport=transport)
        self._sleep = sleep

    async def predict(self, question: str, options: Sequence[str], **extra: Unpack[AskOptions]) -> Prediction:
        """See `Client.predict`."""
        return await self._run(self._calls.predict(question, options, **extra))

    async def predict_batch(self, questions: Sequence[Ask]) -> list[Prediction | Problem]:
        """See `Client.predict_batch`."""
        return await self._run(self._calls.predict_batch(questions))

    async def answer_or(
        self, question: str, options: Sequence[str], fallback: AsyncFallback[T], **extra: Unpack[AskOptions]
    ) -> Answered[T]:
        """See `Client.answer_or`."""
        return await self._run(self._calls.answer_or(question, options, fallback, **extra))

    async def feedback(self, label: Label) -> FeedbackReceipt:
        """See `Client.feedback`."""
        return await self._run(self._calls.feedback(label))

    async def feedback_batch(self, labels: Sequence[Label]) -> list[FeedbackReceipt | Problem]:
        """See `Client.feedback_batch`."""
        return await self._run(self._calls.feedback_batch(labels))

    async def prediction(self, prediction_id: str) -> StoredPrediction:
        """See `Client.prediction`."""
        return await self._run(self._calls.prediction(prediction_id))

    async def models(self) -> ModelList:
        """See `Client.models`."""
        return await self._run(self._calls.models())

    async def model(self, name: str) -> ModelCard:
        """See `Client.model`."""
        return await self._run(self._calls.model(name))

    async def calibration(self, window: str | None = None, model: str | None = None) -> Calibration:
        """See `Client.calibration`."""
        return await self._run(self._calls.calibration(window, model))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                return end.value
            match step:
                case Send():
                    outcome = await self._send(step)
                case Wait(seconds):
                    outcome = await self._sleep(seconds)
                case CallFallback(fallback, declined):
                    outcome = fallback(declined)
                    if inspect.isawaitable(outcome):
                        outcome = await outcome

    async def _send(self, send: Send) -> httpx2.Response | httpx2.RequestError:
        request = _build_request(self._http, send)
        try:
            return await self._http.send(request)
        except httpx2.RequestError as error:
            return error


def _build_request(http: httpx2.Client | httpx2.AsyncClient, send: Send) -> httpx2.Request:
    try:
        return http.build_request(send.method, send.path, json=send.body, params=send.params)
    except (TypeError, ValueError) as error:  # a value that JSON or UTF-8 cannot express
        raise InvalidArgumentError(f"{send.path}: the request cannot be written as JSON: {error}") from error
