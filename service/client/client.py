"""A client of the service that needs only httpx2 and pydantic, not torch or the rest of this project."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx2

from uq4ct.service.client.arguments import authorization, check_timeout, read_base_url, show_url
from uq4ct.service.client.bodies import Ask, AskOptions, Label, SharedOptions
from uq4ct.service.client.calibration_records import Calibration
from uq4ct.service.client.calls import Calls, Chunked
from uq4ct.service.client.concurrency import DEFAULT_CONCURRENCY, Progress, check_concurrency, run_in_order
from uq4ct.service.client.csv_files import CsvQuestions, CsvReport, PathLike
from uq4ct.service.client.fallbacks import Answered, Fallback
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
        self._calls = Calls(show_url(url), retries, chance, clock, proxy)
        transport = transport or open_transport(httpx2.HTTPTransport, proxy)
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=seconds, transport=transport)
        self._sleep = sleep

    def predict(self, question: str, options: Iterable[str], **extra: Unpack[AskOptions]) -> Prediction:
        """Answer one question."""
        return self._run(self._calls.predict(question, options, **extra))

    def predict_batch(
        self,
        questions: Iterable[Ask],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: Progress | None = None,
    ) -> list[Prediction | Problem]:
        """Answer any number of questions: one answer or problem per question, in the same order.

        They are sent in chunks that the service accepts, up to `concurrency` of them at a time, each with the retries.
        `progress` is called with the number of finished questions and of all.
        """
        return self._collect(self._calls.predict_batch(questions), concurrency, progress)

    def predict_frame(  # all after options are keywords with defaults
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
        """Answer each row of a DataFrame of pandas or polars; return it with the answers in new columns.

        Args:
            question: the column of the questions.
            options: the columns of the options, of which a row may lack some, or one column that holds lists.
            prefix: begins the names of the new columns: predicted, predicted_index (among the options as given),
                confidence, feu, abstained, prediction_id and error, which says why a row has no answer.
            shared: fields that all questions share. The same row is answered once, even in a later call.
        """
        table = FrameQuestions(df, question, options, prefix, shared)
        return table.join(self._collect(self._calls.predict_items(table.items), concurrency, progress))

    def predict_csv(  # all after options are keywords with defaults
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
        """Answer each row of a CSV file; write it with the answers in new columns, as `predict_frame` does.

        Each row is written as soon as it and those before it are answered. After an error or an interruption, the same
        call continues after the rows in the output. One column of options holds JSON lists.
        """
        check_concurrency(concurrency)
        with CsvQuestions(source, output, question, options, prefix, shared, progress) as table:
            calls = map(self._calls.predict_chunk, table.chunks())
            with closing(run_in_order(self._run, calls, concurrency)) as parts:
                for results in parts:
                    table.write(results)
            return table.report

    def answer_or(
        self, question: str, options: Iterable[str], fallback: Fallback[T], **extra: Unpack[AskOptions]
    ) -> Answered[T]:
        """Return the service's answer, or the fallback's if the service abstains or cannot answer within the retries.

        An invalid request raises an error and does not call the fallback.
        """
        return self._run(self._calls.answer_or(question, options, fallback, **extra))

    def feedback(self, label: Label) -> FeedbackReceipt:
        """Report the correct option of an earlier prediction."""
        return self._run(self._calls.feedback(label))

    def feedback_batch(
        self,
        labels: Iterable[Label],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        progress: Progress | None = None,
    ) -> list[FeedbackReceipt | Problem]:
        """Report any number of correct options, like `predict_batch`: one receipt or problem per label, in order."""
        return self._collect(self._calls.feedback_batch(labels), concurrency, progress)

    def prediction(self, prediction_id: str) -> StoredPrediction:
        """Return a stored prediction and its label, if any."""
        return self._run(self._calls.prediction(prediction_id))

    def predictions(self, **filters: Unpack[PredictionFilters]) -> Iterator[StoredPrediction]:
        """Iterate over the stored predictions that pass the filters, newest first, and ask for pages as needed.

        Those of the key's tenant or, with an admin key, of all tenants; of the last 24 hours without a `window`.

        Raises:
            InvalidArgumentError: a filter is invalid; the message names it.
        """
        return self._iterate(read_filters(filters))

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

    def _iterate(self, query: Mapping[str, str]) -> Iterator[StoredPrediction]:
        cursor: str | None = None
        while True:
            page = self._run(self._calls.predictions(query, cursor))
            yield from page.predictions
            if page.next is None:
                return
            cursor = page.next

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _collect(self, batch: Chunked[T], concurrency: int, progress: Progress | None) -> list[T]:
        results: list[T] = []
        with closing(run_in_order(self._run, batch.calls, batch.limit(concurrency))) as parts:
            for part in parts:
                results += part
                if progress is not None:
                    progress(len(results), batch.total)
        return results

    def _run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                answer: T = end.value
                return answer
            match step:
                case Send():
                    outcome = self._send(step)
                case Wait(seconds):
                    outcome = self._sleep(seconds)
                case CallFallback(fallback, declined):
                    outcome = fallback(declined)

    def _send(self, send: Send) -> httpx2.Response | httpx2.RequestError:
        request = build_request(self._http, send)
        try:
            return self._http.send(request)
        except httpx2.RequestError as error:
            return error
