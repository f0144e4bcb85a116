"""A full disk, reported with the file that was being written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from uq4ct.model_store.errors import UserError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_IN_RUST = "(os error 28)"  # as libraries in Rust quote ENOSPC, in errors of their own


class DiskFullError(UserError, OSError):
    """The disk, or the user's share of it, is full; the message names the file that was being written."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ENOSPC, "the disk is full", str(path))

    def __str__(self) -> str:
        return f"{self.filename} cannot be written: the disk is full"


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Name the file or folder that the block writes, if the disk is full.

    Raises:
        DiskFullError: the disk is full.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) in _FULL or _FULL_IN_RUST in str(error):
            raise DiskFullError(path) from error
        raise
