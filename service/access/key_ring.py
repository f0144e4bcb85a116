"""The keys that are valid now: read from a file, and again whenever it changes."""

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
    """Finds the record of a key, for the event loop's thread only.

    A file is the only way in: variables of a process can neither change while it runs nor be kept from whoever may
    look at the process, and rotation needs old and new keys side by side without a restart.
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
        self._failure: tuple[object, str] | None = None  # that the log has: the file's state, and what is wrong with it
        self._read()

    def is_readable(self) -> bool:
        """Whether the valid keys are those that the file holds now, and not those of before it was damaged."""
        self._look()
        return self._failure is None

    def find(self, key: bytes) -> KeyRecord | None:
        """The record of a valid key; every record is compared, so the time taken tells nothing."""
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
        """Read the file again if it is another one than before; a damaged one leaves the keys as they were.

        What cannot be read is tried at each look: it may be for a reason that leaves the file as it is.
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
        """Log a failure, unless the log has it already."""
        if failure != self._failure:
            self._failure = failure
            logger.error("keys not read; those known before stay valid", extra={"reason": failure[1]})

    def _read(self) -> None:
        self._records, status = read_keys(self._path)
        self._stamp = _stamp(status)
        self._failure = None
        logger.info("keys read", extra={"keys": len(self._records)})
        if status.st_mode & _OTHERS:
            logger.warning(
                "the file of keys is open to others than its owner",
                extra={"path": str(self._path), "mode": stat.filemode(status.st_mode)},
            )


def _stamp_of(path: Path) -> tuple[int, ...] | None:
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
