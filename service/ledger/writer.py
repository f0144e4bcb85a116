"""The thread that writes predictions in batches, and retries while the database is locked, full, read-only or down."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from uq4ct.service.ledger.buffer import Buffer
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.failures import LedgerUnavailableError
from uq4ct.service.ledger.probing import probe_write
from uq4ct.service.ledger.reasons import log_fields
from uq4ct.service.ledger.tables import predictions
from uq4ct.service.records import PredictionRecord
from uq4ct.service.telemetry.metrics import Metrics

_BATCH = 500
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_CLOSE_SECONDS = 3.0  # how long to retry at the end, while the database cannot be written

logger = logging.getLogger(__name__)


class Writer:
    """Opens the ledger, then moves records from the buffer into it; `run` is for one thread."""

    def __init__(
        self,
        database: Database,
        buffer: Buffer,
        metrics: Metrics,
        *,
        probe_seconds: float,
        longest_write: float,
        allow_new_file: bool,
    ) -> None:
        """Prepare to write.

        Args:
            probe_seconds: how often to check, without traffic, whether the database can be written.
            longest_write: seconds after which an unfinished write counts as failed.
            allow_new_file: whether to go on in another SQLite file if the one in use was removed or replaced.
        """
        self._database = database
        self._buffer = buffer
        self._metrics = metrics
        self._probe_seconds = probe_seconds
        self._longest_write = longest_write
        self._allow_new_file = allow_new_file
        self._writing_since: float | None = None  # monotonic seconds
        self._pause = _FIRST_PAUSE
        self._opened = threading.Event()
        self._failure: str | None = None  # why the last write or probe failed
        self._give_up_at: float | None = None  # monotonic seconds; set at the end, while the database fails

    @property
    def opened(self) -> bool:
        """Whether the ledger has its schema and can be read."""
        return self._opened.is_set()

    @property
    def writable(self) -> bool:
        """Whether the last write or probe succeeded, the current one does not hang, and the files are still there."""
        since = self._writing_since
        hangs = since is not None and time.monotonic() - since > self._longest_write
        return self.opened and self._failure is None and not hangs and not self._database.lost

    def run(
        self, open_ledger: Callable[[], object], report: Callable[[Exception | None], None], *, insist: bool
    ) -> None:
        """Open the ledger, then write until the buffer is closed and empty.

        `report` is called after every attempt to open it, with the error or None; `insist` retries after a failure.
        """
        while (error := self._open(open_ledger)) is not None:
            report(error)
            if insist:  # otherwise the process exits with the error
                self._note_failure("ledger not opened", error)
            if not insist or not self._keep_trying():
                self._give_up()
                return
        self._write([], open_ledger)  # an idle ledger would be probed much later
        report(None)
        while (batch := self._buffer.next_batch(_BATCH, self._probe_seconds)) is not None:
            if not self._write(batch, open_ledger) and not self._keep_trying():
                self._give_up()
                return

    def _open(self, open_ledger: Callable[[], object]) -> Exception | None:
        try:
            open_ledger()
        except Exception as error:
            self._buffer.fail_flushes(LedgerUnavailableError("not opened"))
            return error
        self._opened.set()
        self._pause = _FIRST_PAUSE
        return None

    def _write(self, batch: list[PredictionRecord], open_ledger: Callable[[], object]) -> bool:
        """Write a batch, or probe if it is empty; return false if it must be retried."""
        self._writing_since = started = time.monotonic()
        try:
            if self._database.lost:
                self._reopen(open_ledger)
            lost = self._insert(batch)
        except Exception as error:  # whatever it is, the thread must continue
            self._note_failure("ledger not writable", error, waiting=len(batch))
            self._buffer.fail_flushes(LedgerUnavailableError("the last write failed"))
            return False
        finally:
            self._writing_since = None
        if self._failure is not None:
            logger.info("ledger writable again")
        self._failure = None
        self._pause = _FIRST_PAUSE
        if batch:
            self._metrics.ledger_seconds.observe(time.monotonic() - started)
            self._buffer.settle(batch, lost)
        return True

    def _reopen(self, open_ledger: Callable[[], object]) -> None:
        if self._database.reopen(allow_new=self._allow_new_file):
            open_ledger()
            logger.warning("ledger continued in a new file; labels of earlier answers are no longer accepted")

    def _insert(self, batch: list[PredictionRecord]) -> int:
        """Insert a batch; return how many of its rows can never be stored."""
        if not batch:
            probe_write(self._database)
            return 0
        try:
            self._insert_rows(batch)
        except LedgerUnavailableError:
            raise
        except Exception as error:
            if len(batch) > 1:  # store the other rows of the batch
                return sum(self._insert([record]) for record in batch)
            logger.error("prediction not storable", extra={"error": type(error).__name__})
            return 1
        return 0

    def _insert_rows(self, batch: list[PredictionRecord]) -> None:
        # Rows may already exist: a connection can break after the commit and before its confirmation.
        with self._database.transaction() as connection:
            connection.execute(self._database.insert_new(predictions), [record.to_row() for record in batch])

    def _note_failure(self, message: str, error: Exception, **counts: int) -> None:
        """Log a failure unless the last attempt failed for the same reason."""
        fields = log_fields(error)
        failure = fields.get("reason", fields["error"])
        if failure != self._failure:
            logger.error(message, extra=fields | counts)
        self._failure = failure

    def _keep_trying(self) -> bool:
        """Pause, longer each time; return false once the buffer is closed and the time for its rest is over."""
        closed = self._buffer.wait_closed(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if not closed:
            return True
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + _CLOSE_SECONDS
        time.sleep(_FIRST_PAUSE)
        return time.monotonic() < self._give_up_at

    def _give_up(self) -> None:
        self._failure = self._failure or "closed"
        self._buffer.close()
        lost = self._buffer.drop_all()
        self._buffer.fail_flushes(LedgerUnavailableError("closed"))
        if lost:
            logger.error("predictions not stored", extra={"unlogged": lost})
