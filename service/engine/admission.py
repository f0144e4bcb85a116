"""Limits on the questions and tokens in the engine, and how long a rejected client should wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from uq4ct.service.engine.failures import QueueFullError, RequestTooLargeError

_SMOOTHING = 0.2  # weight of the latest forward in the running mean
_LONGEST_WAIT = 60  # seconds; the measured load says little about later times


class ServiceRate:
    """Running means of the seconds that the worker needs per question and per token."""

    def __init__(self) -> None:
        self.seconds_per_question = 0.0
        self.seconds_per_token = 0.0

    @property
    def known(self) -> bool:
        """Whether anything has been measured yet."""
        return self.seconds_per_token > 0.0

    def observe(self, questions: int, tokens: int, seconds: float) -> None:
        """Update the means with a forward that took `seconds` for `questions` with `tokens` tokens in total."""
        self.seconds_per_question = _smooth(self.seconds_per_question, seconds / questions)
        self.seconds_per_token = _smooth(self.seconds_per_token, seconds / tokens)


def _smooth(known: float, measured: float) -> float:
    return measured if known == 0.0 else known + _SMOOTHING * (measured - known)


class Admission:
    """Limits the questions and tokens in the engine; all methods are for the event loop's thread only.

    A slot is reserved before any work is done for a question. Its number of tokens is known only after tokenising;
    they are added to its reservation before the question is queued.
    """

    def __init__(self, questions: int, tokens: int, rate: ServiceRate) -> None:
        self._question_limit = questions
        self._token_limit = tokens
        self._rate = rate
        self._questions = 0
        self._tokens = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def questions(self) -> int:
        """How many slots are reserved."""
        return self._questions

    def check_room(self, slots: int) -> None:
        """Raise if `reserve` would raise now; reserves nothing.

        Raises:
            QueueFullError: fewer than `slots` slots are free.
        """
        if self._questions + slots > self._question_limit:
            seconds = self._questions * self._rate.seconds_per_question
            raise QueueFullError(self._question_limit, "questions", _retry_after(seconds))

    @contextmanager
    def reserve(self, slots: int) -> Iterator[Reservation]:
        """Reserve all `slots` slots or none; release them and the tokens added to the reservation at the end.

        Raises:
            QueueFullError: fewer than `slots` slots are free.
        """
        self.check_room(slots)
        reservation = Reservation(self)
        self._questions += slots
        self._idle.clear()
        try:
            yield reservation
        finally:
            self._questions -= slots
            self._tokens -= reservation.tokens
            if self._questions == 0:
                self._idle.set()

    def take_tokens(self, tokens: int) -> None:
        """Reserve all `tokens` or none; `reserve` releases them.

        Raises:
            RequestTooLargeError: `tokens` is above the limit.
            QueueFullError: not enough tokens are free now.
        """
        if tokens > self._token_limit:
            raise RequestTooLargeError(tokens, self._token_limit)
        if self._tokens + tokens > self._token_limit:
            seconds = self._tokens * self._rate.seconds_per_token
            raise QueueFullError(self._token_limit, "tokens", _retry_after(seconds))
        self._tokens += tokens

    async def wait_until_idle(self) -> None:
        """Return when no admitted question is left."""
        await self._idle.wait()


class Reservation:
    """The tokens that one request has reserved."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.tokens = 0

    def add_tokens(self, tokens: int) -> None:
        """Reserve `tokens` more; raises like `Admission.take_tokens`."""
        self._admission.take_tokens(tokens)
        self.tokens += tokens


def _retry_after(seconds: float) -> int:
    """Round the seconds that the worker needs for the admitted work up to whole seconds, within bounds."""
    return min(max(math.ceil(seconds), 1), _LONGEST_WAIT)
