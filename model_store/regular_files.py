"""Read files that somebody else may have written: nothing but regular files, and no more than a limit."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path

MEBIBYTE = 2**20


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; never waits, as opening a pipe would.

    Raises:
        OSError: it cannot be opened, or is a directory, a pipe or a device; `strerror` says why in a few words.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"is not a path: {error}", os.fspath(path)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, limit: int | None = None) -> bytes:
    """Return the content of a regular file.

    Args:
        limit: most bytes to read; None = no limit.

    Raises:
        OSError: as `open_regular`, or the file is larger than `limit`.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if limit is not None and size > limit else file.read(-1 if limit is None else limit + 1)
    if limit is not None and max(size, len(data)) > limit:
        raise OSError(errno.EFBIG, f"Larger than {limit} bytes ({max(size, len(data))})", os.fspath(path))
    return data


def reason_of(error: OSError) -> str:
    """Return what went wrong without the path, which the message around it has already."""
    return error.strerror or str(error)


def describe_not_utf8(lines: Iterable[bytes]) -> str:
    """Return where the first byte that is not UTF-8 lies in a file's lines, and what to do."""
    for number, line in enumerate(lines, start=1):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return f"line {number}: byte 0x{line[error.start]:02x} is not UTF-8: save the file as UTF-8"
    return "it is not UTF-8: save the file as UTF-8"  # as it was when it was read
