"""`Client` for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from uq4ct.service.client.arguments import authorization, check_timeout, read_base_url, show_url
from uq4ct.service.client.bodies import Ask, AskOptions, Label, SharedOptions
from uq4ct.service.client.calibration_records import Calibration
from uq4ct.service.client.calls import Calls, Chunked
from uq4ct.service.client.concurrency import DEFAULT_CONCURRENCY, Progress, check_concurrency, run_in_order_async
from uq4ct.service.client.csv_files import CsvQuestions, CsvReport, PathLike
from uq4ct.service.client.fallbacks import Answered, AsyncFallback
from uq4ct.service.client.filters import PredictionFilters, read_filters
from uq4ct.service.client.frames import FrameQuestions
from uq4ct.service.client.progress import count_on_terminal
from uq4ct.service.client.proxies import find_proxy, open_transport
from uq4ct.service.client.records import (
    FeedbackReceipt,
    ModelCard,
    ModelList,
    Prediction,
    Problem,
    StoredPrediction,
)
from uq4ct.service.client.requests import build_request
from uq4ct.service.client.retries import DEFAULT_RETRIES, Retries
from uq4ct.service.client.steps import CallFallback, Send, Steps, Wait

T = TypeVar("T")
F = TypeVar("F")


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
        self._calls = Calls(show_url(url), retries, chance, clock, proxy)
        transport = transport or open_transport(httpx2.AsyncHTTPTransport, proxy)
        self._http = httpx2.AsyncClient(base_url=url, headers=headers, timeout=seconds, transport=transport)
        self._sleep = sleep

    async def predict(self, question: str, options: Iterable[str], **extra: Unpack[AskOptions]) -> Prediction:
        """See `Client.predict`."""
        return await self._run(self._calls.predict(question, options, **extra))

    async def predict_batch(
        self,
        questions: Iterable[Ask],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: Progress | None = None,
    ) -> list[Prediction | Problem]:
        """See `Client.predict_batch`."""
        return await self._collect(self._calls.predict_batch(questions), concurrency, progress)

    async def predict_frame(  # all after options are keywords with defaults
        self,
        df: F,
        question: str,
        options: str | Sequence[str],
        *,
        prefix: str = "",
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: Progress | None = None,
        **shared: Unpack[SharedOptions],
    ) -> F:
        """See `Client.predict_frame`."""
        table = FrameQuestions(df, question, options, prefix, shared)
        return table.join(await self._collect(self._calls.predict_items(table.items), concurrency, progress))

    async def predict_csv(  # all after options are keywords with defaults
        self,
        source: PathLike,
        output: PathLike,
        question: str,
        options: str | Sequence[str],
        *,
        prefix: str = "",
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: Progress = count_on_terminal,
        **shared: Unpack[SharedOptions],
    ) -> CsvReport:
        """See `Client.predict_csv`."""
        check_concurrency(concurrency)
        with CsvQuestions(source, output, question, options, prefix, shared, progress) as table:
            calls = map(self._calls.predict_chunk, table.chunks())
            async with aclosing(run_in_order_async(self._run, calls, concurrency)) as parts:
                async for results in parts:
                    table.write(results)
            return table.report

    async def answer_or(
        self, question: str, options: Iterable[str], fallback: AsyncFallback[T], **extra: Unpack[AskOptions]
    ) -> Answered[T]:
        """See `Client.answer_or`."""
        return await self._run(self._calls.answer_or(question, options, fallback, **extra))

    async def feedback(self, label: Label) -> FeedbackReceipt:
        """See `Client.feedback`."""
        return await self._run(self._calls.feedback(label))

    async def feedback_batch(
        self,
        labels: Iterable[Label],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: Progress | None = None,
    ) -> list[FeedbackReceipt | Problem]:
        """See `Client.feedback_batch`."""
        return await self._collect(self._calls.feedback_batch(labels), concurrency, progress)

    async def prediction(self, prediction_id: str) -> StoredPrediction:
        """See `Client.prediction`."""
        return await self._run(self._calls.prediction(prediction_id))

    def predictions(self, **filters: Unpack[PredictionFilters]) -> AsyncIterator[StoredPrediction]:
        """See `Client.predictions`."""
        return self._iterate(read_filters(filters))

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

    async def _iterate(self, query: Mapping[str, str]) -> AsyncIterator[StoredPrediction]:
        cursor: str | None = None
        while True:
            page = await self._run(self._calls.predictions(query, cursor))
            for prediction in page.predictions:
                yield prediction
            if page.next is None:
                return
            cursor = page.next

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _collect(self, batch: Chunked[T], concurrency: int, progress: Progress | None) -> list[T]:
        results: list[T] = []
        async with aclosing(run_in_order_async(self._run, batch.calls, batch.limit(concurrency))) as parts:
            async for part in parts:
                results += part
                if progress is not None:
                    progress(len(results), batch.total)
        return results

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: T = end.value
                return answer
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
        request = build_request(self._http, send)
        try:
            return await self._http.send(request)
        except httpx2.RequestError as error:
            return error
