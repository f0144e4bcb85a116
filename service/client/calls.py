"""The calls of the client, shared by its sync and async forms: a call yields each step and receives its outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NotRequired, TypedDict, TypeVar, Unpack
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter, ValidationError

from uq4ct.service.client.errors import (
    UNANSWERED,
    ClientError,
    InvalidArgumentError,
    UnreachableError,
    UnreadableResponseError,
    UnusableProxyError,
    error_of,
)
from uq4ct.service.client.proxies import EnvironmentProxy
from uq4ct.service.client.records import (
    Calibration,
    DamagedModel,
    FeedbackReceipt,
    ModelCard,
    ModelList,
    ModelSummary,
    Prediction,
    Problem,
    StoredPrediction,
)
from uq4ct.service.client.retries import RETRIED_ERRORS, RETRIED_STATUSES, Retries, read_retry_after

_LEDGER_UNAVAILABLE = "urn:uq4ct:problem:ledger-unavailable"

T = TypeVar("T")


class AskOptions(TypedDict, total=False):
    """Optional fields of a question; see the service's /docs."""

    context: str
    model: str
    abstain_below: float
    coverage: float
    task: str
    tags: list[str]
    idempotency_key: str


class Ask(AskOptions):
    """One question of a batch."""

    question: str
    options: Sequence[str]


class Label(TypedDict):
    """The correct option of an earlier prediction, by index or letter; `source` is the origin of the label."""

    prediction_id: str
    answer: int | str
    source: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Send:
    """Send this request; the outcome is the response or the error without one."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    params: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait this number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Declined:
    """Why the service's answer cannot be used: it abstained, or it did not answer."""

    reason: Literal["abstained", "unavailable"]
    prediction: Prediction | None
    error: ClientError | None


@dataclass(frozen=True, slots=True)
class CallFallback:
    """Call the fallback; the outcome is its return value."""

    fallback: Callable[[Declined], Any]
    declined: Declined


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """An answer to act on: the text of the service's option, or the return value of the fallback.

    `declined` says why the fallback was called; None if the service answered.
    """

    answer: str | T
    prediction: Prediction | None
    declined: Declined | None

    @property
    def by(self) -> Literal["service", "fallback"]:
        """Who answered."""
        return "service" if self.declined is None else "fallback"


Fallback = Callable[[Declined], T]
AsyncFallback = Callable[[Declined], T | Awaitable[T]]
Outcome = httpx2.Response | httpx2.RequestError
Steps = Generator[Send | Wait | CallFallback, Any, T]

_BATCH = TypeAdapter(dict[Literal["results"], list[Prediction | Problem]])
_RECEIPTS = TypeAdapter(dict[Literal["results"], list[FeedbackReceipt | Problem]])
_MODELS = TypeAdapter(ModelList)
_MODEL = TypeAdapter(ModelCard)
_PREDICTION = TypeAdapter(Prediction)
_RECEIPT = TypeAdapter(FeedbackReceipt)
_RECORD = TypeAdapter(StoredPrediction)
_CALIBRATION = TypeAdapter(Calibration)


class Calls:
    """The calls of a client, with retries.

    Args:
        chance: returns a random number in [0, 1), for the waits.
        clock: returns seconds since 1970, to read a Retry-After date.
        new_key: returns a new idempotency key.
        proxy: the proxy that requests pass, to name it in errors.

    Raises:
        InvalidArgumentError: `retries` are none.
    """

    def __init__(
        self,
        retries: Retries,
        chance: Callable[[], float],
        clock: Callable[[], float],
        new_key: Callable[[], str],
        proxy: EnvironmentProxy | None = None,
    ) -> None:
        if not isinstance(retries, Retries):
            raise InvalidArgumentError(f"retries: must be Retries (got {retries!r})")
        self._proxy = proxy
        self._retries = retries
        self._chance = chance
        self._clock = clock
        self._new_key = new_key

    def predict(self, question: str, options: Sequence[str], **extra: Unpack[AskOptions]) -> Steps[Prediction]:
        """POST /predict."""
        ask: Ask = {"question": question, "options": options, **extra}
        keyed, plain = Send("POST", "/predict", self._identify(ask)), Send("POST", "/predict", _plain(ask))
        return self._call(keyed, _PREDICTION, plain if self._adds_key(ask) else None)

    def predict_batch(self, questions: Sequence[Ask]) -> Steps[list[Prediction | Problem]]:
        """POST /predict/batch."""
        body = {"questions": [self._identify(question) for question in questions]}
        results = (yield from self._call(Send("POST", "/predict/batch", body), _BATCH))["results"]
        unkept = [
            index
            for index, (question, result) in enumerate(zip(questions, results, strict=True))
            if isinstance(result, Problem) and result.type == _LEDGER_UNAVAILABLE and self._adds_key(question)
        ]
        if unkept:
            body = {"questions": [_plain(questions[index]) for index in unkept]}
            again = (yield from self._call(Send("POST", "/predict/batch", body), _BATCH))["results"]
            for index, result in zip(unkept, again, strict=True):
                results[index] = result
        return results

    def feedback(self, label: Label) -> Steps[FeedbackReceipt]:
        """POST /feedback."""
        return self._call(Send("POST", "/feedback", {**label}), _RECEIPT)

    def feedback_batch(self, labels: Sequence[Label]) -> Steps[list[FeedbackReceipt | Problem]]:
        """POST /feedback/batch."""
        body = {"feedback": [{**label} for label in labels]}
        return (yield from self._call(Send("POST", "/feedback/batch", body), _RECEIPTS))["results"]

    def prediction(self, prediction_id: str) -> Steps[StoredPrediction]:
        """GET /predictions/{prediction_id}."""
        return self._call(Send("GET", f"/predictions/{quote(prediction_id, safe='')}"), _RECORD)

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
        return self._call(Send("GET", f"/models/{quote(name, safe='@')}"), _MODEL)

    def calibration(self, window: str | None, model: str | None) -> Steps[Calibration]:
        """GET /calibration."""
        given = {"window": window, "model": model}
        params = {name: value for name, value in given.items() if value is not None}
        return self._call(Send("GET", "/calibration", params=params), _CALIBRATION)

    def answer_or(
        self, question: str, options: Sequence[str], fallback: AsyncFallback[T], **extra: Unpack[AskOptions]
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

    def _identify(self, question: Ask) -> dict[str, Any]:
        """Return the question with an idempotency key, so that retries are recorded once; one attempt needs none."""
        body = _plain(question)
        return {"idempotency_key": self._new_key(), **body} if self._adds_key(question) else body

    def _adds_key(self, question: Ask) -> bool:
        return self._retries.attempts > 1 and "idempotency_key" not in question

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
        if self._proxy is not None and _is_of_the_proxy(outcome):
            why = outcome.status_code if isinstance(outcome, httpx2.Response) else type(outcome).__name__
            error = UnusableProxyError(f"no connection through proxy {self._proxy} after {attempt} attempts: {why}")
        elif isinstance(outcome, httpx2.Response):
            return error_of(outcome)
        elif isinstance(outcome, httpx2.DecodingError):
            error = UnreadableResponseError(f"the response body cannot be decoded: {outcome}")
        else:
            error = UnreachableError(f"no response after {attempt} attempts: {type(outcome).__name__}")
        error.__cause__ = outcome if isinstance(outcome, Exception) else None
        return error


def _plain(question: Ask) -> dict[str, Any]:
    if isinstance(question["options"], str):
        raise TypeError(f"options must be a sequence of texts (got the single text {question['options']!r})")
    return {**question, "options": list(question["options"])}


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
