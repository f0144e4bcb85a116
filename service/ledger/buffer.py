"""A bounded buffer of predictions between the event loop and the thread that writes them to the ledger."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from uq4ct.service.ledger.failures import LedgerUnavailableError
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A record and when it was put into the buffer, in monotonic seconds."""

    record: PredictionRecord
    since: float


def _begun() -> Future[None]:
    """Return a future that its waiters cannot cancel: the writer's thread must be able to complete it."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


@dataclass(slots=True)
class _Flush:
    """A request to write the first `target` records ever put into the buffer, and its completion."""

    target: int
    done: Future[None] = field(default_factory=_begun)


class Buffer:
    """Records not known to be in the database, oldest first, including those being written."""

    def __init__(self, limit: int, flush_seconds: float, metrics: Metrics) -> None:
        self._limit = limit
        self._flush_seconds = flush_seconds
        self._metrics = metrics
        self._changed = threading.Condition()
        self._waiting: dict[str, _Waiting] = {}
        self._reserved = 0
        self._taken = 0
        self._settled = 0
        self._flushes: list[_Flush] = []
        self._closed = False
        self._woken = False

    def put(self, record: PredictionRecord) -> None:
        """Add a record, or count it as unlogged if the buffer is full or closed; never waits."""
        with self._changed:
            if self._closed or len(self._waiting) >= self._limit:
                self._metrics.ledger_unlogged.inc()
                return
            self._waiting[record.prediction_id] = _Waiting(record, time.monotonic())
            self._taken += 1
            self._metrics.ledger_buffer_depth.set(len(self._waiting))
            self._changed.notify()

    def find(self, prediction_id: str) -> PredictionRecord | None:
        """Return the record if it still waits, else None."""
        with self._changed:
            waiting = self._waiting.get(prediction_id)
        return None if waiting is None else waiting.record

    @contextmanager
    def places(self, records: int) -> Iterator[None]:
        """Reserve places for `records` records that are put during the block.

        Raises:
            LedgerUnavailableError: the buffer has no room for so many now.
        """
        with self._changed:
            if self._closed or len(self._waiting) + self._reserved + records > self._limit:
                raise LedgerUnavailableError("the buffer is full")
            self._reserved += records
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= records

    def flush(self) -> Future[None]:
        """Request that everything put so far is written at once; the future fails if the write fails."""
        with self._changed:
            flush = _Flush(self._taken)
            if self._settled >= flush.target:
                flush.done.set_result(None)
            else:
                self._flushes.append(flush)
                self._changed.notify()
        return flush.done

    def next_batch(self, size: int, patience: float) -> list[PredictionRecord] | None:
        """Wait for the next batch; [] after `patience` seconds or `wake` without one, None once closed and empty."""
        give_up = time.monotonic() + patience
        with self._changed:
            while not self._is_due(size):
                if self._closed and not self._waiting:
                    return None
                now = time.monotonic()
                if now >= give_up or self._woken:
                    self._woken = False
                    return []
                self._changed.wait(min(self._due(), give_up) - now)
            return [waiting.record for waiting in islice(self._waiting.values(), size)]

    def wake(self) -> None:
        """End the writer's wait for a batch, so that it checks the database now."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def settle(self, batch: list[PredictionRecord], lost: int = 0) -> None:
        """Remove a batch that is written except for `lost` records, which are counted as unlogged."""
        with self._changed:
            for record in batch:
                self._waiting.pop(record.prediction_id, None)  # dropped, if the write took too long at the end
            self._settled += len(batch)
            self._metrics.ledger_unlogged.inc(lost)
            self._metrics.ledger_buffer_depth.set(len(self._waiting))
            ready = [flush for flush in self._flushes if flush.target <= self._settled]
            self._flushes = [flush for flush in self._flushes if flush.target > self._settled]
        for flush in ready:
            flush.done.set_result(None)

    def fail_flushes(self, error: LedgerUnavailableError) -> None:
        """Fail every pending flush because a write has failed."""
        with self._changed:
            failed, self._flushes = self._flushes, []
        for flush in failed:
            flush.done.set_exception(error)

    def close(self) -> None:
        """Accept no more records; those that wait are due now."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_closed(self, seconds: float) -> bool:
        """Wait up to `seconds` for the buffer to close; return whether it is closed."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    def drop_all(self) -> int:
        """Remove all waiting records, count them as unlogged, and return their number."""
        with self._changed:
            records = [waiting.record for waiting in self._waiting.values()]
        self.settle(records, lost=len(records))
        return len(records)

    def _due(self) -> float:
        """Return the monotonic seconds at which the oldest record is due."""
        oldest = next(iter(self._waiting.values()), None)
        return math.inf if oldest is None else oldest.since + self._flush_seconds

    def _is_due(self, size: int) -> bool:
        if not self._waiting:
            return False
        hurried = self._closed or bool(self._flushes) or len(self._waiting) >= size
        return hurried or time.monotonic() >= self._due()
