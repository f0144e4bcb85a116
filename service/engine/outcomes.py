"""The answers or errors of the questions of one request."""

from __future__ import annotations

import asyncio

from uq4ct.service.engine.predictor import Served


class Outcomes:
    """One outcome per question, by its index in the request. For the event loop's thread only."""

    def __init__(self, questions: int) -> None:
        self._outcomes: list[Served | Exception | None] = [None] * questions
        self._waiting = 0
        self._done: asyncio.Future[None] | None = None

    def settle(self, index: int, outcome: Served | Exception) -> None:
        """Set the outcome of a question; later outcomes of the same question are ignored."""
        if self._outcomes[index] is not None:
            return
        self._outcomes[index] = outcome
        self._waiting -= 1
        if self._waiting == 0 and self._done is not None and not self._done.done():
            self._done.set_result(None)

    async def wait_for(self, questions: int) -> None:
        """Return when this many more questions have an outcome; call it before any of them can get one."""
        self._waiting = questions
        if questions:
            self._done = asyncio.get_running_loop().create_future()
            await self._done

    def in_order(self, missing: Exception) -> list[Served | Exception]:
        """Return the outcomes in the order of the questions; `missing` for questions without one."""
        return [missing if outcome is None else outcome for outcome in self._outcomes]
