"""The queue between the event loop, which adds work, and the worker, which takes it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from uq4ct.service.engine.batching import count_fitting
from uq4ct.service.engine.failures import WorkerDiedError
from uq4ct.service.engine.loaded import LoadedAdapter
from uq4ct.service.engine.outcomes import Outcomes
from uq4ct.service.engine.predictor import Encoded
from uq4ct.service.telemetry.metrics import Metrics


@dataclass(eq=False, slots=True)
class Ticket:
    """One question that waits for its forward; immutable."""

    outcomes: Outcomes  # of its request
    index: int  # of the question in its request
    adapter: LoadedAdapter
    encoded: Encoded
    tokens: int  # of `encoded`, counted once per pass of its adapter
    options: int
    since: float  # monotonic seconds
    deadline: float  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Job:
    """Other work for the worker's thread, run between two forwards."""

    run: Callable[[], Any]
    result: asyncio.Future[Any]


class WaitingWork:
    """Waiting tickets, oldest first, and jobs, which are taken before tickets, but with a batch between two of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._tickets: dict[Ticket, None] = {}
        self._tokens = 0
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._after_job = False  # whether the last work taken was a job
        self._closed = False
        self._abandoned = False
        self._metrics = metrics

    def put(self, tickets: Sequence[Ticket]) -> None:
        """Queue tickets for the worker.

        Raises:
            WorkerDiedError: the worker has ended.
        """
        with self._changed:
            self._check_open()
            self._tickets.update(dict.fromkeys(tickets))
            self._tokens += sum(ticket.tokens for ticket in tickets)
            self._show()
            self._changed.notify()

    def put_job(self, job: Job) -> None:
        """Queue a job for the worker.

        Raises:
            WorkerDiedError: the worker has ended.
        """
        with self._changed:
            self._check_open()
            self._jobs.append(job)
            self._changed.notify()

    def take(self, budget: int) -> list[Ticket] | Job | None:
        """Wait for work: a job, or the oldest tickets that fit; None once closed and empty.

        All tickets of a batch are for the adapter of the oldest ticket, or for adapters that can share a batch with it;
        those of one adapter are neighbours, and the shortest comes first. Tickets past their deadline are dropped; the
        event loop tells their clients.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._jobs or self._tickets or self._closed)
                if self._jobs and not (self._after_job and self._tickets):
                    self._after_job = True
                    return self._jobs.popleft()
                self._after_job = False
                if not self._tickets:
                    return None
                now = time.monotonic()
                self._remove([ticket for ticket in self._tickets if ticket.deadline <= now])
                if self._tickets:
                    return self._take_batch(budget)

    def discard(self, tickets: Sequence[Ticket]) -> None:
        """Remove those of the tickets that still wait."""
        with self._changed:
            self._remove([ticket for ticket in tickets if ticket in self._tickets])

    def take_all(self) -> tuple[list[Ticket], list[Job]]:
        """Remove and return everything that waits."""
        with self._changed:
            tickets, jobs = list(self._tickets), list(self._jobs)
            self._remove(tickets)
            self._jobs.clear()
        return tickets, jobs

    def close(self) -> None:
        """Let the worker end once the queue is empty."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def abandon(self) -> None:
        """Reject everything from now on, since the worker has ended."""
        with self._changed:
            self._abandoned = True

    def _take_batch(self, budget: int) -> list[Ticket]:
        oldest = next(iter(self._tickets)).adapter
        joining = [ticket for ticket in self._tickets if ticket.adapter.can_join(oldest)]
        batch = joining[: count_fitting((ticket.tokens for ticket in joining), budget)]
        self._remove(batch)
        order = {adapter: place for place, adapter in enumerate(dict.fromkeys(ticket.adapter for ticket in batch))}
        # By length, since some posteriors pad neighbours to a common length.
        return sorted(batch, key=lambda ticket: (order[ticket.adapter], ticket.tokens))

    def _remove(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            del self._tickets[ticket]
            self._tokens -= ticket.tokens
        self._show()

    def _show(self) -> None:
        self._metrics.queue_depth.set(len(self._tickets))
        self._metrics.queue_tokens.set(self._tokens)

    def _check_open(self) -> None:
        if self._closed or self._abandoned:
            raise WorkerDiedError("the model's thread has ended")
