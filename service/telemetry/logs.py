"""Logs as one JSON object per line on stderr, without question texts or error messages that may quote them."""

from __future__ import annotations

import datetime
import json
import logging
import math
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}
_BETWEEN_REPEATS = 1.0  # seconds


class JsonFormatter(logging.Formatter):
    """Formats time, level, logger, message and the fields of `extra`; an exception as its type and frames."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": moment} | self.fields(record), default=str)

    def fields(self, record: logging.LogRecord) -> dict[str, object]:
        """Return everything but the time."""
        entry: dict[str, object] = {
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            entry["error"] = record.exc_info[0].__name__
            entry["frames"] = _frames(record.exc_info[2])
        return entry


@dataclass(slots=True)
class _Line:
    """A line that was written at `since` (monotonic seconds), and its latest repetition since then."""

    since: float
    repeated: int = 0
    latest: logging.LogRecord | None = None


class JsonHandler(logging.StreamHandler[TextIO]):
    """Writes JSON lines; one that differs from an earlier one only in its time is written once a second.

    The field `repeated` then says how often it came since the one before. A fault that logs in a loop would otherwise
    fill the disk.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._clock = clock
        self._json = JsonFormatter()
        self.setFormatter(self._json)
        self._lines: dict[str, _Line] = {}  # the one written first, first
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it."""
        now = self._clock()
        self._write_repeated(before=now - _BETWEEN_REPEATS)
        key = json.dumps(self._json.fields(record), default=str)
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = _Line(now)
            super().emit(record)
        else:
            line.repeated += 1
            line.latest = record
            self._start_timer()

    def close(self) -> None:
        """Write what was counted."""
        self.acquire()
        try:
            self._write_repeated(before=math.inf)
        finally:
            self.release()
        super().close()

    def _start_timer(self) -> None:
        """Write the count a second later, should no other line come."""
        if self._timer is None:
            self._timer = threading.Timer(_BETWEEN_REPEATS, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def _on_timer(self) -> None:
        self.acquire()
        try:
            self._timer = None
            self._write_repeated(before=self._clock() - _BETWEEN_REPEATS)
            if any(line.latest for line in self._lines.values()):
                self._start_timer()
        finally:
            self.release()

    def _write_repeated(self, before: float) -> None:
        """Write the counts of lines written before a time, and forget those that were not repeated."""
        while self._lines:
            key, line = next(iter(self._lines.items()))
            if line.since > before:
                return
            del self._lines[key]
            if line.latest is not None:
                super().emit(logging.makeLogRecord(vars(line.latest) | {"repeated": line.repeated}))
                self._lines[key] = _Line(self._clock())


def log_to_stderr(level: str) -> None:
    """Send all logs of this process at `level` or above, including uvicorn's, to stderr."""
    logging.basicConfig(level=level.upper(), handlers=[JsonHandler(sys.stderr)], force=True)


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(trace)]
