"""The currently valid keys: read from a file, and reread whenever it changes."""

from __future__ import annotations

import hmac
import logging
import os
import stat
from pathlib import Path

from uq4ct.service.access.clocks import Clocks
from uq4ct.service.access.keys import KeyFileError, KeyRecord, hash_key, read_keys

_LOOK_EVERY_NS = 1_000_000_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

logger = logging.getLogger(__name__)


class KeyRing:
    """Finds the record of a key; for the event loop's thread only.

    Keys come only from a file: environment variables cannot change while a process runs and are visible to whoever can
    inspect it, and rotation needs old and new keys side by side without a restart.
    """

    def __init__(self, path: Path, clocks: Clocks) -> None:
        """Read the file.

        Raises:
            KeyFileError: the file cannot be used.
        """
        self._path = path
        self._clocks = clocks
        self._next_look = clocks.monotonic_ns() + _LOOK_EVERY_NS
        self._records: tuple[KeyRecord, ...] = ()
        self._stamp: tuple[int, ...] | None = None
        self._failure: tuple[object, str] | None = None  # last one logged: the file's state and the error
        self._read()

    def is_readable(self) -> bool:
        """Return whether the file can be read; if not, the last valid keys remain in force."""
        self._look()
        return self._failure is None

    def find(self, key: bytes) -> KeyRecord | None:
        """Return the record of a valid key; compares every record, so that the time taken reveals nothing."""
        self._look()
        digest = hash_key(key)
        found: KeyRecord | None = None
        for record in self._records:
            if hmac.compare_digest(record.sha256, digest):
                found = record
        if found is None or self._has_expired(found):
            return None
        return found

    def _has_expired(self, record: KeyRecord) -> bool:
        return record.expires_at is not None and record.expires_at.timestamp() <= self._clocks.wall()

    def _look(self) -> None:
        """Reread the file if it has changed; an unreadable one leaves the keys unchanged.

        A failed read is retried at every check: it may have a cause that does not change the file.
        """
        now = self._clocks.monotonic_ns()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_NS
        stamp = _stamp_of(self._path)
        if stamp == self._stamp and self._failure is None:
            return
        try:
            self._read()
        except KeyFileError as error:
            self._note((stamp, str(error)))

    def _note(self, failure: tuple[object, str]) -> None:
        """Log a failure unless it is the last one logged."""
        if failure != self._failure:
            self._failure = failure
            logger.error("keys not read; the last valid keys remain in force", extra={"reason": failure[1]})

    def _read(self) -> None:
        self._records, status = read_keys(self._path)
        self._stamp = _stamp(status)
        self._failure = None
        logger.info("keys read", extra={"keys": len(self._records)})
        if status.st_mode & _OTHERS:
            logger.warning(
                "the file of keys is accessible to users other than its owner",
                extra={"path": str(self._path), "mode": stat.filemode(status.st_mode)},
            )


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
