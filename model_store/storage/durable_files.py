"""Writes that survive a crash: flushed to the disk, and either complete or absent."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from uq4ct.model_store.full_disk import naming_full_disk


def write_file(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a new file and flush it to the disk; `mode` is its permissions, less the process's umask.

    Raises:
        FileExistsError: the file is already there.
        DiskFullError: the disk is full.
    """
    with naming_full_disk(path):
        _write(path, data, mode)


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes, mode: int = 0o666, like: os.stat_result | None = None) -> None:
    """Set a file's content in one step: a reader sees the old content or the new; `mode` as for `write_file`.

    Args:
        like: has the owner, group and permissions that the file gets; None = the process's, and `mode`.

    Raises:
        PermissionError: this process may not give files that owner or group; then nothing is changed.
        DiskFullError: the disk is full; then nothing is changed.
    """
    with naming_full_disk(path):
        _replace(path, data, mode, like)


def _replace(path: Path, data: bytes, mode: int, like: os.stat_result | None) -> None:
    staged = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        _write(staged, data, mode)
        if like is not None:
            _give(staged, like)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _give(path: Path, like: os.stat_result) -> None:
    own = path.stat()
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.chown(path, like.st_uid, like.st_gid)
        except PermissionError as error:
            reason = f"belongs to user {like.st_uid}, group {like.st_gid}; this process may not give files to them"
            raise PermissionError(error.errno, reason, os.fspath(path)) from error
    path.chmod(stat.S_IMODE(like.st_mode))  # after the owner, so that nobody else can read it in between


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries, so that a file created or renamed in it survives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
