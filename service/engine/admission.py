"""How much is in the engine at once, in questions and in tokens, and how long a refused client should wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from uq4ct.service.engine.failures import QueueFullError, RequestTooLargeError

_SMOOTHING = 0.2  # weight of the newest forward in the running mean
_LONGEST_WAIT = 60  # seconds; a longer promise would outlive the load it was measured on


class ServiceRate:
    """Running means of the seconds that one question and one token cost the worker."""

    def __init__(self) -> None:
        self.seconds_per_question = 0.0
        self.seconds_per_token = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was measured yet."""
        return self.seconds_per_token > 0.0

    def observe(self, questions: int, tokens: int, seconds: float) -> None:
        """Count a forward that answered `questions` of together `tokens` tokens in `seconds`."""
        self.seconds_per_question = _smooth(self.seconds_per_question, seconds / questions)
        self.seconds_per_token = _smooth(self.seconds_per_token, seconds / tokens)


def _smooth(known: float, measured: float) -> float:
    return measured if known == 0.0 else known + _SMOOTHING * (measured - known)


class Admission:
    """Slots for questions and room for their tokens; all methods are for the event loop's thread only.

    A slot is reserved before any work is done for a question. How many tokens it has is known only after tokenising:
    then they are added to its reservation, before it may wait for a forward.
    """

    def __init__(self, questions: int, tokens: int, rate: ServiceRate) -> None:
        self._question_limit = questions
        self._token_limit = tokens
        self._rate = rate
        self._questions = 0
        self._tokens = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def check_room(self, slots: int) -> None:
        """Refuse at once what `reserve` would refuse now.

        Raises:
            QueueFullError: fewer slots are free.
        """
        if self._questions + slots > self._question_limit:
            seconds = self._questions * self._rate.seconds_per_question
            raise QueueFullError(self._question_limit, "questions", _retry_after(seconds))

    @contextmanager
    def reserve(self, slots: int) -> Iterator[Reservation]:
        """Hold `slots` slots, all of them or none, and the tokens that are added meanwhile.

        Raises:
            QueueFullError: fewer slots are free.
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
        """Take room for tokens, all of them or none; for `Reservation`, which gives it back.

        Raises:
            RequestTooLargeError: there is never room for so many.
            QueueFullError: there is none now.
        """
        if tokens > self._token_limit:
            raise RequestTooLargeError(tokens, self._token_limit)
        if self._tokens + tokens > self._token_limit:
            seconds = self._tokens * self._rate.seconds_per_token
            raise QueueFullError(self._token_limit, "tokens", _retry_after(seconds))
        self._tokens += tokens

    async def wait_until_idle(self) -> None:
        """Return when nothing is admitted."""
        await self._idle.wait()


class Reservation:
    """What one request holds of the admission."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.tokens = 0

    def add_tokens(self, tokens: int) -> None:
        """Hold `tokens` more; raises as `Admission.take_tokens`."""
        self._admission.take_tokens(tokens)
        self.tokens += tokens


def _retry_after(seconds: float) -> int:
    """Whole seconds in which the worker gets through what is admitted, at the measured rate."""
    return min(max(math.ceil(seconds), 1), _LONGEST_WAIT)
