"""Encoded questions between the event loop, which puts them in, and the worker, which takes them out in batches."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from service.engine.batching import select_batch
from service.engine.predictor import Encoded, Served
from service.telemetry.metrics import Metrics


@dataclass(eq=False, slots=True)
class Ticket:
    """One admitted question; cancelling `future` takes it out of the queue."""

    encoded: Encoded
    options: int
    since: float  # monotonic seconds
    future: Future[Served] = field(default_factory=Future)


class WaitingTickets:
    """The queue, oldest first."""

    def __init__(self, metrics: Metrics) -> None:
        self._tickets: dict[Ticket, None] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._metrics = metrics

    def put(self, ticket: Ticket) -> None:
        """Let the worker see the ticket.

        Raises:
            RuntimeError: the queue is closed.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("the queue is closed")
            self._tickets[ticket] = None
            self._metrics.queue_depth.inc()
            self._metrics.queue_tokens.inc(ticket.encoded.length)
            self._changed.notify()
        ticket.future.add_done_callback(lambda _: self._discard(ticket))

    def take(self, budget: int) -> list[Ticket]:
        """Wait for tickets and take the next batch of at most `budget` tokens; empty once closed and used up."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tickets or self._closed)
                if not self._tickets:
                    return []
                waiting = list(self._tickets)
                batch = [waiting[index] for index in select_batch([t.encoded.length for t in waiting], budget)]
                for ticket in batch:
                    self._remove(ticket)
            running = [ticket for ticket in batch if ticket.future.set_running_or_notify_cancel()]
            if running:
                return running

    def close(self) -> None:
        """Take nothing new; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _discard(self, ticket: Ticket) -> None:
        with self._changed:
            if ticket in self._tickets:
                self._remove(ticket)

    def _remove(self, ticket: Ticket) -> None:
        del self._tickets[ticket]
        self._metrics.queue_depth.dec()
        self._metrics.queue_tokens.dec(ticket.encoded.length)
