"""The calls of the client, shared by its sync and async forms: a call yields each step and receives its outcome."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, Unpack
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from uq4ct.service.client.bodies import Ask, AskOptions, Item, Label, read_label, read_question
from uq4ct.service.client.calibration_records import Calibration
from uq4ct.service.client.chunks import Chunks, cut
from uq4ct.service.client.concurrency import check_concurrency
from uq4ct.service.client.errors import (
    UNANSWERED,
    ClientError,
    InvalidArgumentError,
    UnreachableError,
    UnreadableResponseError,
    UnusableProxyError,
    error_of,
)
from uq4ct.service.client.fallbacks import Answered, AsyncFallback, Declined
from uq4ct.service.client.proxies import EnvironmentProxy
from uq4ct.service.client.records import (
    DamagedModel,
    FeedbackReceipt,
    ModelCard,
    ModelList,
    ModelSummary,
    Prediction,
    PredictionPage,
    Problem,
    StoredPrediction,
)
from uq4ct.service.client.retries import (
    RETRIED_ERRORS,
    RETRIED_PROBLEMS,
    RETRIED_STATUSES,
    Retries,
    read_retry_after,
)
from uq4ct.service.client.steps import CallFallback, Outcome, Send, Steps, Wait
from uq4ct.service.client.values import check_text, read_items

_LEDGER_UNAVAILABLE = "urn:uq4ct:problem:ledger-unavailable"

T = TypeVar("T")
R = TypeVar("R")

_BATCH = TypeAdapter(dict[Literal["results"], list[Prediction | Problem]])
_RECEIPTS = TypeAdapter(dict[Literal["results"], list[FeedbackReceipt | Problem]])
_MODELS = TypeAdapter(ModelList)
_MODEL = TypeAdapter(ModelCard)
_PREDICTION = TypeAdapter(Prediction)
_RECEIPT = TypeAdapter(FeedbackReceipt)
_RECORD = TypeAdapter(StoredPrediction)
_PAGE = TypeAdapter(PredictionPage)
_ON_A_PAGE = 200
_CALIBRATION = TypeAdapter(Calibration)


@dataclass(frozen=True, slots=True)
class Chunked(Generic[T]):
    """A batch as calls for its chunks; `total` is the number of items."""

    total: int
    calls: list[Steps[list[T]]]

    def limit(self, concurrency: int) -> int:
        """Return how many calls to make at a time; raises InvalidArgumentError for a wrong `concurrency`."""
        return min(check_concurrency(concurrency), max(len(self.calls), 1))


class Calls:
    """The calls of a client, with retries.

    Args:
        address: of the service, to name it in errors.
        chance: returns a random number in [0, 1), for the waits.
        clock: returns seconds since 1970, to read a Retry-After date.
        proxy: the proxy that requests pass, to name it in errors.

    Raises:
        InvalidArgumentError: `retries` are none.
    """

    def __init__(
        self,
        address: str,
        retries: Retries,
        chance: Callable[[], float],
        clock: Callable[[], float],
        proxy: EnvironmentProxy | None = None,
    ) -> None:
        if not isinstance(retries, Retries):
            raise InvalidArgumentError(f"retries: must be Retries (got {retries!r})")
        self._address = address
        self._proxy = proxy
        self._chunks = Chunks()
        self._retries = retries
        self._chance = chance
        self._clock = clock

    def predict(self, question: str, options: Iterable[str], **extra: Unpack[AskOptions]) -> Steps[Prediction]:
        """POST /predict."""
        item = self._identify(read_question({"question": question, "options": options, **extra}))
        plain = None if item.key is None else Send("POST", "/predict", item.body)
        return self._call(Send("POST", "/predict", item.keyed), _PREDICTION, plain)

    def predict_batch(self, questions: Iterable[Ask]) -> Chunked[Prediction | Problem]:
        """POST /predict/batch, in chunks."""
        asks = read_items("questions", questions, "questions")
        bodies = [read_question(ask, f"questions[{index}]") for index, ask in enumerate(asks)]
        return self.predict_items([self._identify(body) for body in bodies])

    def predict_items(self, items: Sequence[Item]) -> Chunked[Prediction | Problem]:
        """POST /predict/batch with questions that have been read, in chunks."""
        return Chunked(len(items), [self.predict_chunk(chunk) for chunk in cut(items, self._chunks.size)])

    def predict_chunk(self, items: Sequence[Item]) -> Steps[list[Prediction | Problem]]:
        """POST /predict/batch with one chunk."""
        return self._chunks.send(items, self._predict_chunk)

    def feedback(self, label: Label) -> Steps[FeedbackReceipt]:
        """POST /feedback."""
        return self._call(Send("POST", "/feedback", read_label(label)), _RECEIPT)

    def feedback_batch(self, labels: Iterable[Label]) -> Chunked[FeedbackReceipt | Problem]:
        """POST /feedback/batch, in chunks."""
        given = read_items("labels", labels, "labels")
        items = [Item(read_label(label, f"labels[{index}]")) for index, label in enumerate(given)]
        chunks = cut(items, self._chunks.size)
        return Chunked(len(items), [self._chunks.send(chunk, self._feedback_chunk) for chunk in chunks])

    def prediction(self, prediction_id: str) -> Steps[StoredPrediction]:
        """GET /predictions/{prediction_id}."""
        return self._call(
            Send("GET", f"/predictions/{quote(check_text('prediction_id', prediction_id), safe='')}"), _RECORD
        )

    def predictions(self, query: Mapping[str, str], cursor: str | None) -> Steps[PredictionPage]:
        """GET /predictions: the page that begins after `cursor`."""
        params = {**query, "limit": str(_ON_A_PAGE), **({} if cursor is None else {"cursor": cursor})}
        page = yield from self._call(Send("GET", "/predictions", params=params), _PAGE)
        if page.next is not None and cursor is not None and page.next >= cursor:
            raise UnreadableResponseError(f"/predictions: the page after {cursor} leads back to {page.next}")
        return page

    def models(self) -> Steps[ModelList]:
        """GET /models, page by page."""
        models: list[ModelSummary] = []
        damaged: list[DamagedModel] = []
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            params = None if cursor is None else {"cursor": cursor}
            page = yield from self._call(Send("GET", "/models", params=params), _MODELS)
            models += page.models
            damaged += page.damaged
            if page.next is None:
                return ModelList(models=models, damaged=damaged, next=None)
            if page.next in seen:
                raise UnreadableResponseError(f"/models: the page after {cursor} leads back to {page.next}")
            seen.add(page.next)
            cursor = page.next

    def model(self, name: str) -> Steps[ModelCard]:
        """GET /models/{name}."""
        return self._call(Send("GET", f"/models/{quote(check_text('name', name), safe='@')}"), _MODEL)

    def calibration(self, window: str | None, model: str | None) -> Steps[Calibration]:
        """GET /calibration."""
        given = {"window": window, "model": model}
        params = {name: check_text(name, value) for name, value in given.items() if value is not None}
        return self._call(Send("GET", "/calibration", params=params), _CALIBRATION)

    def answer_or(
        self, question: str, options: Iterable[str], fallback: AsyncFallback[T], **extra: Unpack[AskOptions]
    ) -> Steps[Answered[T]]:
        """POST /predict; call the fallback if the answer abstains or the service cannot answer."""
        try:
            prediction = yield from self.predict(question, options, **extra)
        except UNANSWERED as error:
            declined = Declined("unavailable", None, error)
        else:
            if not prediction.abstain:
                return Answered(prediction.option.text, prediction, None)
            declined = Declined("abstained", prediction, None)
        return Answered((yield CallFallback(fallback, declined)), declined.prediction, declined)

    def _predict_chunk(self, items: Sequence[Item], attempt: int = 1) -> Steps[list[Prediction | Problem]]:
        """Ask a chunk; ask again what the ledger cannot keep, without a key, and what had no answer for now."""
        send = Send("POST", "/predict/batch", {"questions": [item.keyed for item in items]})
        results = _one_per_item(send, items, (yield from self._call(send, _BATCH)))
        problems = {index: result for index, result in enumerate(results) if isinstance(result, Problem)}
        unkept = [index for index, one in problems.items() if one.type == _LEDGER_UNAVAILABLE and items[index].key]
        if unkept:
            again = yield from self._predict_chunk([Item(items[index].body) for index in unkept], attempt)
            _replace(results, unkept, again)
        late = [index for index, one in problems.items() if one.status in RETRIED_PROBLEMS and index not in unkept]
        wait = self._retries.wait_after(attempt, None, self._chance()) if late else None
        if wait is not None:
            yield Wait(wait)
            _replace(results, late, (yield from self._predict_chunk([items[index] for index in late], attempt + 1)))
        return results

    def _feedback_chunk(self, items: Sequence[Item]) -> Steps[list[FeedbackReceipt | Problem]]:
        send = Send("POST", "/feedback/batch", {"feedback": [item.body for item in items]})
        return _one_per_item(send, items, (yield from self._call(send, _RECEIPTS)))

    def _identify(self, body: dict[str, object]) -> Item:
        """Give a question an idempotency key, so that retries are recorded once; one attempt needs none."""
        return Item(body, str(uuid.uuid4()) if self._retries.attempts > 1 and "idempotency_key" not in body else None)

    def _call(self, send: Send, reader: TypeAdapter[T], without_key: Send | None = None) -> Steps[T]:
        """Send until there is an answer; if the ledger cannot store the key, continue with `without_key`, if given."""
        attempt = 0
        while True:
            attempt += 1
            outcome: Outcome = yield send
            if isinstance(outcome, httpx2.Response) and outcome.status_code == 200:
                return _read(outcome, reader)
            if without_key is not None and _is_unkept(outcome):
                send, without_key = without_key, None
                continue
            wait = self._wait_after(attempt, outcome)
            if wait is None:
                raise self._explain(attempt, outcome)
            yield Wait(wait)

    def _wait_after(self, attempt: int, outcome: Outcome) -> float | None:
        asked = None
        if isinstance(outcome, httpx2.Response):
            if outcome.status_code not in RETRIED_STATUSES:
                return None
            asked = read_retry_after(outcome, self._clock())
        elif not isinstance(outcome, RETRIED_ERRORS):
            return None
        return self._retries.wait_after(attempt, asked, self._chance())

    def _explain(self, attempt: int, outcome: Outcome) -> ClientError:
        error: ClientError
        if self._proxy is not None and _is_of_the_proxy(outcome):
            why = outcome.status_code if isinstance(outcome, httpx2.Response) else type(outcome).__name__
            error = UnusableProxyError(f"no connection through proxy {self._proxy} after {attempt} attempts: {why}")
        elif isinstance(outcome, httpx2.Response):
            return error_of(outcome)
        elif isinstance(outcome, httpx2.DecodingError):
            error = UnreadableResponseError(f"the response body cannot be decoded: {outcome}")
        else:
            why = ": ".join(part for part in (type(outcome).__name__, str(outcome)) if part)
            error = UnreachableError(f"could not reach {self._address}: no response after {attempt} attempts: {why}")
        error.__cause__ = outcome if isinstance(outcome, Exception) else None
        return error


def _one_per_item(send: Send, items: Sequence[Item], body: Mapping[Literal["results"], list[R]]) -> list[R]:
    results = body["results"]
    if len(results) != len(items):
        raise UnreadableResponseError(f"{send.path}: {len(results)} results for {len(items)} items")
    return results


def _replace(results: list[R], places: Sequence[int], others: Sequence[R]) -> None:
    for place, other in zip(places, others, strict=True):
        results[place] = other


def _is_unkept(outcome: Outcome) -> bool:
    """Whether the service rejected the request only because it cannot store an idempotency key."""
    problem = error_of(outcome).problem if isinstance(outcome, httpx2.Response) else None
    return problem is not None and problem.type == _LEDGER_UNAVAILABLE


def _is_of_the_proxy(outcome: Outcome) -> bool:
    """Whether a request failed before its proxy passed it on."""
    if isinstance(outcome, httpx2.Response):
        return outcome.status_code == httpx2.codes.PROXY_AUTHENTICATION_REQUIRED
    return isinstance(outcome, httpx2.ProxyError | httpx2.ConnectError | httpx2.ConnectTimeout)


def _read(response: httpx2.Response, reader: TypeAdapter[T]) -> T:
    try:
        return reader.validate_json(response.content)
    except ValidationError as error:
        raise UnreadableResponseError(
            f"{response.request.url.path}: unexpected response body, invalid fields: {error.error_count()}"
        ) from error
