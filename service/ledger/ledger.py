"""The ledger's interface for the routes: recording never waits, everything else runs in the ledger's threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.ids import milliseconds_of
from uq4ct.service.ledger.buffer import Buffer
from uq4ct.service.ledger.cohorts import LiveCalibration, read_calibration
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import (
    ClockJumpedError,
    IdempotencyConflictError,
    LedgerFileError,
    LedgerUnavailableError,
    NotVisibleYetError,
    PastRetentionError,
    UnknownPredictionError,
)
from uq4ct.service.ledger.feedback import Feedback, Taken, store_label
from uq4ct.service.ledger.history import HistoryInterval, Version, read_history
from uq4ct.service.ledger.listing import Filters, Page, list_predictions
from uq4ct.service.ledger.migrating import check_writable, migrate
from uq4ct.service.ledger.monitor import Monitor
from uq4ct.service.ledger.queries import Window, find_by_idempotency_key, find_prediction, insert_once
from uq4ct.service.ledger.reasons import log_fields
from uq4ct.service.ledger.retention import STEP, accept_clock, delete_step, oldest_kept_ms
from uq4ct.service.ledger.sqlite_files import path_of, warn_if_shared
from uq4ct.service.ledger.writer import Writer
from uq4ct.service.outside import NoAnswerError, OutsideCalls
from uq4ct.service.records import PredictionRecord, StoredPrediction
from uq4ct.service.settings import Settings, parse_database_url
from uq4ct.service.telemetry.metrics import Metrics

T = TypeVar("T")

_THREADS = 4  # for requests that wait for the database
_LONGEST_ASK = 20.0  # seconds that a request waits for the database; longer than its own timeouts
_LONGEST_REPORT = 60.0  # seconds
LONGEST_CLOSE = 10.0  # seconds to write the rest at the end, and to end the threads
_MOST_REPORTS = 8  # running or queued; they run one after the other, and each may take seconds
_VISIBLE_AFTER = 10.0  # seconds after the flush interval during which another replica may still write a prediction
_BETWEEN_STEPS = 0.1  # seconds, to let other statements run
_BETWEEN_ROUNDS = 3600.0  # seconds
_BETWEEN_PROBES = 5.0  # seconds
_LONGEST_WRITE = 15.0  # seconds; longer than the statement timeout
_BETWEEN_COUNTS = 5.0  # seconds between rounds of the sequential tests

logger = logging.getLogger(__name__)


class Ledger:
    """Predictions and labels of all replicas; the methods are for the event loop's thread."""

    def __init__(
        self,
        settings: Settings,
        adapters: Registry,
        metrics: Metrics,
        clock: Callable[[], float],
        probe_seconds: float = _BETWEEN_PROBES,
        longest_write: float = _LONGEST_WRITE,
        longest_ask: float = _LONGEST_ASK,
    ) -> None:
        """Prepare the ledger without connecting.

        Args:
            adapters: the model store; manifests determine the error rate that a version may have.
            clock: Unix seconds.
            probe_seconds: how often to check, without traffic, whether the database can be written.
            longest_write: seconds after which an unfinished write counts as failed.
            longest_ask: seconds after which a request stops waiting for the database.

        Raises:
            LedgerError: the driver of UQ4CT_DATABASE_URL is not installed.
        """
        self.database = Database(settings.database_url)
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._longest_ask = longest_ask
        self._buffer = Buffer(settings.ledger_buffer, settings.ledger_flush_seconds, metrics)
        self._writer = Writer(
            self.database,
            self._buffer,
            metrics,
            probe_seconds=probe_seconds,
            longest_write=longest_write,
            allow_new_file=settings.ledger_allow_new_file,
        )
        self._calls = OutsideCalls(_THREADS, "ledger", longest_ask)
        self._reports = OutsideCalls(1, "ledger-report", _LONGEST_REPORT)  # long reports delay only each other
        self._reporting = asyncio.Semaphore(_MOST_REPORTS)
        self._watching = OutsideCalls(1, "ledger-monitor", _LONGEST_REPORT)  # not delayed by reports
        self._monitor = Monitor(self.database, adapters, settings, metrics)
        self._writing: threading.Thread | None = None
        self._background: list[asyncio.Task[None]] = []
        self._open_tried = asyncio.Event()
        self._open_error: Exception | None = None

    @property
    def writable(self) -> bool:
        """Whether the last write or probe succeeded, and what it wrote is still there."""
        return self._writer.writable

    @property
    def required(self) -> bool:
        """Whether questions are answered only while the ledger is writable and has a place for the answer."""
        return self._settings.ledger_required

    def start(self) -> None:
        """Start to open the database in the background, then write to it, count labels and delete old predictions."""
        loop = asyncio.get_running_loop()
        work = partial(
            self._writer.run,
            partial(_open, self._settings.database_url, self.required),
            lambda error: _call_if_open(loop, partial(self._end_try, error)),
            insist=not self.required,
        )
        self._writing = threading.Thread(target=work, name="ledger-writer", daemon=True)  # `close` waits for it
        self._writing.start()
        self._background = [loop.create_task(self._prune()), loop.create_task(self._watch())]

    async def wait_until_opened(self) -> None:
        """Return after the first attempt to open the database.

        Raises:
            LedgerError: the database cannot be opened or written, and the ledger is required.
        """
        await self._open_tried.wait()
        if self._open_error is not None and self.required:
            raise self._open_error

    async def close(self) -> None:
        """Write the buffered predictions and end the threads; what hangs is given up after `LONGEST_CLOSE` seconds."""
        for task in self._background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._buffer.close()
        until = time.monotonic() + LONGEST_CLOSE
        hangs = False
        if self._writing is not None:
            await asyncio.to_thread(self._writing.join, LONGEST_CLOSE)
            hangs = self._writing.is_alive()
        for calls in (self._reports, self._watching, self._calls):
            hangs |= not await calls.close(max(until - time.monotonic(), 0.0))
        if not hangs:  # and no connection is in use
            closing = OutsideCalls(1, "ledger-close", LONGEST_CLOSE)
            closing.submit(self.database.close)  # in a thread: SQLite may write much, to a disk that hangs
            hangs = not await closing.close(max(until - time.monotonic(), 0.0))
        if hangs:
            logger.error("ledger hangs; its predictions may not be stored", extra={"unlogged": self._buffer.drop_all()})

    def places(self, predictions: int) -> AbstractContextManager[None]:
        """Reserve places for the answers to `predictions` questions if the ledger is required.

        Raises:
            LedgerUnavailableError: the database cannot be written now; on entering, the buffer has no room for so many.
        """
        if not self.required:
            return contextlib.nullcontext()
        if not self._writer.writable:
            raise LedgerUnavailableError("not writable")
        return self._buffer.places(predictions)

    def record(self, record: PredictionRecord) -> None:
        """Buffer a prediction, or count it as unlogged if the buffer is full. Never waits, never raises."""
        self._buffer.put(record)

    async def flush(self) -> None:
        """Write the buffered predictions now; raises LedgerUnavailableError if that is not possible."""
        if not self._writer.writable:  # do not wait for the pauses between the writer's attempts
            raise LedgerUnavailableError("not writable")
        flush = asyncio.wrap_future(self._buffer.flush())
        if not (await asyncio.wait({flush}, timeout=self._longest_ask))[0]:
            raise LedgerUnavailableError("not written in time")
        flush.result()

    async def record_once(self, record: PredictionRecord) -> StoredPrediction:
        """Write a prediction with an idempotency key, or return the stored one with the same key and body.

        Raises:
            IdempotencyConflictError: the key was already used with a different body.
            LedgerUnavailableError: the database cannot be written now.
        """
        return _same_body(await self._ask(insert_once, self.database, record), record.body_hash)

    async def recall(self, tenant: str, key: str, body_hash: str) -> StoredPrediction | None:
        """Return the prediction of an earlier request with this key and body, if any; raises like `record_once`."""
        if not self._writer.writable:  # the answer could not be stored: do not wait for the database to fail
            raise LedgerUnavailableError("not writable")
        stored = await self._ask(find_by_idempotency_key, self.database, tenant, key)
        return None if stored is None else _same_body(stored, body_hash)

    async def find(self, prediction_id: str, tenant: str | None) -> StoredPrediction:
        """Return a prediction of this tenant (None: of any), even if it is not written yet.

        A prediction of another tenant is the same as none, in what is raised and in what is asked of the database.

        Raises:
            UnknownPredictionError: there is no such prediction.
            PastRetentionError: it is older than the retention period.
            NotVisibleYetError: another replica may still be writing it.
            LedgerUnavailableError: the database cannot be read now.
        """
        self._check_age(prediction_id)
        waiting = self._waiting(prediction_id, tenant)
        if waiting is not None:
            return StoredPrediction(waiting, None)
        stored = await self._ask(find_prediction, self.database, prediction_id, tenant)
        if stored is None:
            raise self._absence(prediction_id)
        return stored

    async def page(self, window: Window, filters: Filters, limit: int, before: str | None) -> Page:
        """Return a page of stored predictions; those of the last seconds may not be written yet.

        Raises:
            LedgerUnavailableError: the database cannot be read now.
        """
        return await self._ask(list_predictions, self.database, window, filters, limit, before)

    async def label(self, feedback: Feedback, tenant: str | None) -> Taken:
        """Store the label of a prediction of this tenant (None: of any); it is committed when this returns.

        Raises:
            AnswerOutsideError: the answer is not one of the prediction's options.
            LabelConflictError: the prediction already has a different label.
            UnknownPredictionError, PastRetentionError, NotVisibleYetError, LedgerUnavailableError: as `find`.
        """
        try:
            if self._waiting(feedback.prediction_id, tenant) is not None:
                await self.flush()
            stored = await self.find(feedback.prediction_id, tenant)
            return await self._ask(store_label, self.database, self._metrics, stored.record, feedback, self.now_ms())
        except UnknownPredictionError:
            self._metrics.feedback.labels("unknown").inc()
            raise
        except PastRetentionError:
            self._metrics.feedback.labels("late").inc()
            raise

    async def history(
        self, window: Window, points: int, versions: int | None = None
    ) -> dict[Version, list[HistoryInterval]]:
        """Return confidence and accuracy of each model version in `points` intervals; raises like `calibration`."""
        return await self._report(read_history, window, points, versions)

    async def calibration(self, window: Window, versions: int | None = None) -> LiveCalibration:
        """Return the live calibration of each model version in a window, and the alarms of all versions.

        With `versions`, only that many versions are reported, those with the most predictions.

        Raises:
            LedgerUnavailableError: the database cannot be read now, or too many reports are running or queued.
        """
        return await self._report(read_calibration, window, versions)

    def now_ms(self) -> int:
        """Return the current time in Unix milliseconds."""
        return int(self._clock() * 1000)

    async def _report(self, work: Callable[..., T], *arguments: object) -> T:
        if self._reporting.locked():
            raise LedgerUnavailableError("too many reports")
        async with self._reporting:
            return await self._ask(work, self.database, *arguments, calls=self._reports)

    async def _ask(self, work: Callable[..., T], *arguments: object, calls: OutsideCalls | None = None) -> T:
        if not self._writer.opened:
            raise LedgerUnavailableError("not opened")
        try:
            return await (calls or self._calls).ask(work, *arguments)
        except NoAnswerError as error:
            raise LedgerUnavailableError(str(error)) from error
        except LedgerFileError:
            self._buffer.wake()  # the writer reopens the files, if it can
            raise

    def _waiting(self, prediction_id: str, tenant: str | None) -> PredictionRecord | None:
        """Return a prediction of this tenant (None: of any) that is not written yet."""
        record = self._buffer.find(prediction_id)
        return record if record is not None and tenant in (None, record.tenant) else None

    def _check_age(self, prediction_id: str) -> None:
        made = milliseconds_of(prediction_id)
        if made is None:
            raise _unknown(prediction_id)
        if made < oldest_kept_ms(self.now_ms(), self._settings.retention_days):
            raise PastRetentionError(f"{prediction_id} is older than {self._settings.retention_days} days")

    def _absence(self, prediction_id: str) -> Exception:
        made = milliseconds_of(prediction_id) or 0
        bound = (self._settings.ledger_flush_seconds + _VISIBLE_AFTER) * 1000
        young = abs(self.now_ms() - made) < bound
        return NotVisibleYetError(f"{prediction_id} is not written yet") if young else _unknown(prediction_id)

    def _end_try(self, error: Exception | None) -> None:
        self._open_error = error
        self._open_tried.set()

    async def _prune(self) -> None:
        await self._open_tried.wait()
        while True:
            try:
                logger.info("retention", extra={"deleted": await self._prune_round()})
            except ClockJumpedError as error:
                logger.error("retention stopped", extra=log_fields(error))
            except Exception as error:  # whatever it is, the next round may succeed
                logger.warning("retention failed", extra=log_fields(error))
            await asyncio.sleep(_BETWEEN_ROUNDS)

    async def _prune_round(self) -> int:
        """Delete old predictions in steps; return their number."""
        now_ms = self.now_ms()
        await self._ask(accept_clock, self.database, now_ms)
        before = oldest_kept_ms(now_ms, self._settings.retention_days)
        total = 0
        while (deleted := await self._ask(delete_step, self.database, before)) == STEP:
            total += deleted
            await asyncio.sleep(_BETWEEN_STEPS)
        return total + deleted

    async def _watch(self) -> None:
        await self._open_tried.wait()
        failing = False
        while True:
            more = False
            try:
                more = await self._ask(self._monitor.run_round, calls=self._watching)
                failing = False
            except Exception as error:  # whatever it is, the next round may succeed
                if not failing:
                    logger.warning("sequential tests failed", extra=log_fields(error))
                failing = True
            await asyncio.sleep(_BETWEEN_STEPS if more else _BETWEEN_COUNTS)


def _open(url: str, required: bool) -> None:
    migrate(url)
    if required:
        check_writable(url)
    parsed = parse_database_url(url)
    if parsed.drivername == "sqlite":
        warn_if_shared(path_of(parsed))


def _unknown(prediction_id: str) -> UnknownPredictionError:
    return UnknownPredictionError(f"no prediction {prediction_id}")


def _same_body(stored: StoredPrediction, body_hash: str | None) -> StoredPrediction:
    if stored.record.body_hash != body_hash:
        raise IdempotencyConflictError("idempotency_key already used with a different body")
    return stored


def _call_if_open(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing waits for the callback
        loop.call_soon_threadsafe(callback)
