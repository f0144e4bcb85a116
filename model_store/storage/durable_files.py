"""Writes that survive a crash: flushed to the disk, and whole or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def write_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a new file and flush it to the disk; `mode` is its permissions, less the process's umask.

    Raises:
        FileExistsError: the file is already there.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Set a file's content in one step: a reader sees the old content or the new; `mode` as for `write_file`."""
    staged = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        write_file(staged, data, mode)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries, so that a file made or renamed in it stays after a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
