"""Take a request through the engine: reserve slots, find adapters, tokenise, queue, collect outcomes."""

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

_TOKENIZER_THREADS = 2  # a tokenizer releases the GIL; more threads would only take cores from the forward
CHARACTERS_IN_THE_LOOP = 2000  # up to this length, checking or tokenising is faster than switching threads


@dataclass(frozen=True, slots=True)
class _Request:
    """The questions of one request with their reservation, outcomes and deadline."""

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
    """A question, its index in the request, and the adapter that will answer it."""

    index: int
    question: Question
    adapter: LoadedAdapter


class RequestRunner:
    """Runs each request until all its questions have an outcome. For the event loop's thread only."""

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
        """Return an answer or an error per question, in order; cancelling removes unanswered ones from the queue.

        Raises:
            QueueFullError, RequestTooLargeError: there is no room for all of them, so none was admitted.
            WorkerDiedError: the worker's thread has ended.
        """
        with self._admission.reserve(len(asks)) as reservation:
            seconds = self._limits.seconds
            request = _Request(asks, reservation, Outcomes(len(asks)), time.monotonic() + seconds)
            with contextlib.suppress(TimeoutError):  # questions answered by then keep their answers
                async with asyncio.timeout(seconds):
                    await self._answer(request)
        return request.outcomes.in_order(missing=DeadlinePassedError(f"not answered in {seconds:g} seconds"))

    def close(self) -> None:
        """End the threads; no request may be in progress."""
        self._tokenizers.shutdown()

    async def _answer(self, request: _Request) -> None:
        """Settle every question: first those whose adapter is loaded, then those that must wait for a load.

        Adapters that are not loaded are loaded one after the other, since there may not be room for several.
        """
        placed, absent = self._place(request.asks)
        if placed:
            await self._answer_placed(request, placed)
        for reference, indices in absent.items():
            try:
                adapter = await self._swaps.obtain_for_question(reference)
                late = [_Placed(index, request.asks[index].question, adapter) for index in indices]
                await self._answer_placed(request, late)
            except (QueueFullError, RequestTooLargeError) as error:
                if len(indices) == len(request.asks):
                    raise
                request.settle(indices, error)
            except Exception as error:  # affects only these questions; others keep their answers
                request.settle(indices, error)

    def _place(self, asks: Sequence[Ask]) -> tuple[list[_Placed], dict[str, list[int]]]:
        """Return the questions whose adapter is loaded, and the indices of the others by reference."""
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
        """Tokenise and queue questions and wait for their answers; holds their loaded adapters meanwhile."""
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
        """Tokenise; long texts in a thread, so that they do not block the event loop."""
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
        except Exception as error:  # affects only this question
            return error
        return encoded if encoded.length <= budget else QuestionTooLongError(encoded.length, budget)
