"""The way of one request through the engine: slots, adapters, tokens, the queue, outcomes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from uq4ct.model_store.questions import Question
from uq4ct.model_store.scoring.encoding import QuestionTooLongError
from uq4ct.service.engine.admission import Admission, Reservation
from uq4ct.service.engine.failures import DeadlinePassedError, QueueFullError, RequestTooLargeError
from uq4ct.service.engine.limits import Limits
from uq4ct.service.engine.loaded import LoadedAdapter, LoadedAdapters
from uq4ct.service.engine.outcomes import Outcomes
from uq4ct.service.engine.predictor import Ask, Encoded, Served
from uq4ct.service.engine.swaps import Swaps
from uq4ct.service.engine.waiting import Ticket, WaitingWork
from uq4ct.service.telemetry.metrics import Metrics

_TOKENIZER_THREADS = 2  # a tokenizer releases the interpreter lock; more would only take cores from the forward
CHARACTERS_IN_THE_LOOP = 2000  # checked or tokenised faster than another thread gets its turn


@dataclass(frozen=True, slots=True)
class _Request:
    """The questions of one request, what they hold of the engine, and what became of them."""

    asks: Sequence[Ask]
    reservation: Reservation
    outcomes: Outcomes
    deadline: float  # monotonic seconds

    def settle(self, indices: Sequence[int], outcome: Exception) -> None:
        """Give several questions the same outcome."""
        for index in indices:
            self.outcomes.settle(index, outcome)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A question, its place in the request, and the adapter that will answer it."""

    index: int
    question: Question
    adapter: LoadedAdapter


class RequestRunner:
    """Runs requests, each until all its questions have an outcome. For the event loop's thread only."""

    def __init__(
        self,
        limits: Limits,
        admission: Admission,
        loaded: LoadedAdapters,
        swaps: Swaps,
        waiting: WaitingWork,
        metrics: Metrics,
    ) -> None:
        self._limits = limits
        self._admission = admission
        self._loaded = loaded
        self._swaps = swaps
        self._waiting = waiting
        self._metrics = metrics
        self._tokenizers = ThreadPoolExecutor(_TOKENIZER_THREADS, thread_name_prefix="tokenizer")

    async def run(self, asks: Sequence[Ask]) -> list[Served | Exception]:
        """Answer each question or say why not, in order; cancelling removes the unanswered ones from the queue.

        Raises:
            QueueFullError, RequestTooLargeError: there is no room for all of them, so none was taken.
            WorkerDiedError: nothing answers questions any more.
        """
        with self._admission.reserve(len(asks)) as reservation:
            seconds = self._limits.seconds
            request = _Request(asks, reservation, Outcomes(len(asks)), time.monotonic() + seconds)
            with contextlib.suppress(TimeoutError):  # the questions that are answered keep their answers
                async with asyncio.timeout(seconds):
                    await self._answer(request)
        return request.outcomes.in_order(missing=DeadlinePassedError(f"not answered in {seconds:g} seconds"))

    def close(self) -> None:
        """End the threads; no request may be under way."""
        self._tokenizers.shutdown()

    async def _answer(self, request: _Request) -> None:
        """Settle every question: first together those whose adapter is loaded, then those that must wait for a load.

        Two adapters that are not loaded are taken one after the other, since there may not be room for both.
        """
        placed, absent = self._place(request.asks)
        if placed:
            await self._answer_placed(request, placed)
        for reference, indices in absent.items():
            try:
                adapter = await self._swaps.obtain(reference)
                late = [_Placed(index, request.asks[index].question, adapter) for index in indices]
                await self._answer_placed(request, late)
            except (QueueFullError, RequestTooLargeError) as error:
                if len(indices) == len(request.asks):
                    raise
                request.settle(indices, error)
            except Exception as error:  # of these questions alone: the others of the request keep their answers
                request.settle(indices, error)

    def _place(self, asks: Sequence[Ask]) -> tuple[list[_Placed], dict[str, list[int]]]:
        """The questions whose adapter is loaded, and by reference the indices of those whose adapter is not."""
        placed: list[_Placed] = []
        absent: dict[str, list[int]] = {}
        for index, ask in enumerate(asks):
            reference = self._loaded.default_reference if ask.reference is None else ask.reference
            adapter = self._loaded.find(reference)
            if adapter is not None:
                placed.append(_Placed(index, ask.question, adapter))
            else:
                absent.setdefault(reference, []).append(index)
        return placed, absent

    async def _answer_placed(self, request: _Request, placed: Sequence[_Placed]) -> None:
        """Tokenise, queue and wait for questions whose adapters are loaded, and stay so until they are answered."""
        outcomes = request.outcomes
        with self._loaded.holding([item.adapter for item in placed]):
            encodings = await self._encode(placed)
            since = time.monotonic()
            tickets: list[Ticket] = []
            for item, encoded in zip(placed, encodings, strict=True):
                if isinstance(encoded, Exception):
                    outcomes.settle(item.index, encoded)
                    continue
                tokens, options = encoded.length * item.adapter.predictor.passes, len(item.question.options)
                ticket = Ticket(outcomes, item.index, item.adapter, encoded, tokens, options, since, request.deadline)
                tickets.append(ticket)
            request.reservation.add_tokens(sum(ticket.tokens for ticket in tickets))
            self._waiting.put(tickets)
            try:
                await outcomes.wait_for(len(tickets))
            finally:
                self._waiting.discard(tickets)

    async def _encode(self, placed: Sequence[_Placed]) -> list[Encoded | Exception]:
        """Tokenise, in a thread where it takes long enough to hold up the others."""
        characters = sum(item.question.characters for item in placed)
        if characters <= CHARACTERS_IN_THE_LOOP:
            return [self._encode_one(item) for item in placed]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._tokenizers, lambda: [self._encode_one(item) for item in placed])

    def _encode_one(self, item: _Placed) -> Encoded | Exception:
        budget = self._limits.batch_tokens
        try:
            with self._metrics.tokenize_seconds.time():
                encoded = item.adapter.predictor.encode(item.question)
        except Exception as error:  # of this question alone
            return error
        return encoded if encoded.length <= budget else QuestionTooLongError(encoded.length, budget)
