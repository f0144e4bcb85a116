"""The files of an SQLite ledger: created for their owner only, and watched while connections have them open.

SQLite notices neither a removed nor a replaced file: it goes on in the one that it has open, and what it confirms there
is gone when the last connection closes. The two files beside it, `-wal` and `-shm`, have the permissions of the ledger.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL

from uq4ct.service.ledger.failures import LedgerFileError, LedgerUnavailableError

_OWNER_ONLY = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO

Identity = tuple[int, int]  # device and inode

logger = logging.getLogger(__name__)


def path_of(url: URL) -> Path:
    """Return the path of an SQLite database, also if the URL has it as a URI."""
    database = url.database or ""
    return Path(unquote(urlsplit(database).path) if url.query.get("uri") == "true" else database)


def create_file(path: Path) -> None:
    """Create an empty file for its owner only, and its folder, unless there is a file; SQLite accepts an empty one."""
    real = path.resolve()  # a link may point to a file that does not exist yet
    real.parent.mkdir(parents=True, exist_ok=True)
    # An existing file is not opened: closing it would release the locks that this process has on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(real, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))


def warn_if_shared(path: Path) -> None:
    """Log a warning if other users may access the ledger; its permissions may be intended, so they are kept."""
    mode = path.stat().st_mode
    if mode & _OTHERS:
        logger.warning(
            "the ledger is accessible to users other than its owner",
            extra={"path": str(path), "mode": stat.filemode(mode)},
        )


class FileWatch:
    """Compares the files that connections have open with those at their paths; for any number of threads.

    As long as one connection is open, all have the same files open. Once they differ from those at their paths, every
    use is refused until `reopen` succeeds: a new connection would mix an old index with a new log.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._paths = (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")))
        # Of the ledger since the first connection, of the others while any is open.
        self._opened: dict[Path, Identity] = {}
        self._connections = 0
        self._users = 0
        self._lost: str | None = None  # which file was removed or replaced
        self._lock = threading.Lock()

    @property
    def lost(self) -> bool:
        """Whether a file was found to be removed or replaced."""
        return self._lost is not None

    def connected(self) -> None:
        """Note a new connection, and which files it has open."""
        with self._lock:
            self._connections += 1
            for path in self._paths:
                identity = _identity(path)
                if identity is not None:
                    self._opened.setdefault(path, identity)

    def closed(self) -> None:
        """Note the end of a connection; with the last one, SQLite removes the log and its index."""
        with self._lock:
            self._connections -= 1
            if self._connections == 0 and self._lost is None:
                self._opened = {path: self._opened[path] for path in self._paths[:1] if path in self._opened}

    @contextmanager
    def use(self) -> Iterator[None]:
        """Count the block as a use of the files.

        Raises:
            LedgerFileError: one of them was removed or replaced.
        """
        with self._lock:
            self._users += 1
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._users -= 1

    def check(self) -> None:
        """Check the files; after a commit, too: only then is it known where the commit went.

        Raises:
            LedgerFileError: one was removed or replaced; what was committed may be lost.
        """
        with self._lock:
            for path, identity in self._opened.items():
                if self._lost is None and _identity(path) != identity:
                    self._lost = f"{path} was removed or replaced while it was open"
            if self._lost is not None:
                raise LedgerFileError(self._lost)

    @contextmanager
    def reopen(self, *, allow_new: bool) -> Iterator[bool]:
        """Yield whether the ledger is another file than before; the block closes every connection.

        If the block does not raise, the files may be used again. If the ledger itself is the same, closing the last
        connection copies into it what only its removed log had.

        Raises:
            LedgerFileError: the ledger is another file or missing, and `allow_new` is not set.
            LedgerUnavailableError: connections are still in use.
        """
        with self._lock:
            is_new = _identity(self._path) != self._opened.get(self._path)
            if is_new and not allow_new:
                self._lost = f"{self._path} was removed or replaced while it was open"
                raise LedgerFileError(self._lost)
            if self._users:
                raise LedgerUnavailableError(f"{self._lost}; {self._users} connections are still in use")
        yield is_new
        with self._lock:
            self._lost = None
            self._opened = {}


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
