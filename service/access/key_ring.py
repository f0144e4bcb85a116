"""The currently valid keys: read from a file, and reread whenever it changes."""

from __future__ import annotations

import hmac
import logging
import os
import stat
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path

from uq4ct.service.access.clocks import Clocks
from uq4ct.service.access.keys import KeyFileError, KeyRecord, hash_key, read_keys
from uq4ct.service.outside import OutsideCalls

_LOOK_EVERY_NS = 1_000_000_000
_LONGEST_LOOK = 0.2  # seconds that a request waits for the file; a local file takes less than a thousandth of it
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Stamp = tuple[int, ...]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the file found: new keys, or the error of reading them; neither if the file is unchanged."""

    stamp: Stamp | None
    keys: tuple[tuple[KeyRecord, ...], os.stat_result] | None = None
    error: str | None = None


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
        self._reader = OutsideCalls(1, "keys", _LONGEST_LOOK)
        self._looking: Future[_Look] | None = None  # a look without a result yet
        self._records: tuple[KeyRecord, ...] = ()
        self._stamp: Stamp | None = None
        self._failure: tuple[object, str] | None = None  # last one logged: the file's state and the error
        self._accept(*read_keys(path))

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

    async def close(self) -> None:
        """End the thread that reads the file; one that hangs ends with the process."""
        await self._reader.close(_LONGEST_LOOK)

    def _has_expired(self, record: KeyRecord) -> bool:
        return record.expires_at is not None and record.expires_at.timestamp() <= self._clocks.wall()

    def _look(self) -> None:
        """Reread the file if it has changed; an unreadable one leaves the keys unchanged.

        The file may be on a file system that hangs, so a thread reads it. A request waits for it only at the start of a
        look, so that it never uses keys that were replaced long before.
        """
        if self._looking is not None:
            self._finish(self._looking, 0.0)
            return
        now = self._clocks.monotonic_ns()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY_NS
        stamp, failed = self._stamp, self._failure is not None
        self._looking = self._reader.submit(lambda: _look_at(self._path, stamp, again=failed))
        self._finish(self._looking, _LONGEST_LOOK)

    def _finish(self, looking: Future[_Look], seconds: float) -> None:
        """Use the result of a look if it comes within `seconds`."""
        if not wait([looking], seconds).done:
            self._note(("slow", f"{self._path}: no answer from the file system in {_LONGEST_LOOK:g} seconds"))
            return
        self._looking = None
        look = looking.result()
        if look.keys is not None:
            self._accept(*look.keys)
        elif look.error is not None:
            self._note((look.stamp, look.error))
        elif self._failure is not None and self._failure[0] == "slow":
            self._failure = None

    def _note(self, failure: tuple[object, str]) -> None:
        """Log a failure unless it is the last one logged."""
        if failure != self._failure:
            self._failure = failure
            logger.error("keys not read; the last valid keys remain in force", extra={"reason": failure[1]})

    def _accept(self, records: tuple[KeyRecord, ...], status: os.stat_result) -> None:
        self._records = records
        self._stamp = _stamp(status)
        self._failure = None
        logger.info("keys read", extra={"keys": len(records)})
        if status.st_mode & _OTHERS:
            logger.warning(
                "the file of keys is accessible to users other than its owner",
                extra={"path": str(self._path), "mode": stat.filemode(status.st_mode)},
            )


def _look_at(path: Path, known: Stamp | None, *, again: bool) -> _Look:
    """Read the file if its state is not the known one, or `again`: a failure may have a cause outside of the file."""
    stamp = _stamp_of(path)
    if stamp == known and not again:
        return _Look(stamp)
    try:
        return _Look(stamp, keys=read_keys(path))
    except KeyFileError as error:
        return _Look(stamp, error=str(error))


def _stamp_of(path: Path) -> Stamp | None:
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
