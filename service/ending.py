"""The last resort at the end of the process: nothing that hangs keeps it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPED = 130  # exit code after Ctrl-C, as of a shell
SECONDS = 10.0  # the interpreter's own end takes well below one; sending the last traces may take longer

logger = logging.getLogger(__name__)


@contextmanager
def ending_despite_hangs() -> Iterator[None]:
    """End the process SECONDS after its main thread if it does not end by itself, with the exit code of the block.

    The interpreter waits for threads, and libraries have some. The block must leave nothing behind that is to be kept.
    """
    code = 1
    try:
        yield
        code = 0
    finally:
        threading.Thread(target=_end, args=[code], name="last-resort", daemon=True).start()


def end_now(message: str) -> NoReturn:
    """End the process after Ctrl-C at once, with one line on stderr; the system frees everything, as after a crash."""
    print(f"stopped: {message}", file=sys.stderr, flush=True)
    os._exit(STOPPED)


def _end(code: int) -> None:
    threading.main_thread().join()  # the interpreter stops it, then waits for the others
    time.sleep(SECONDS)
    hanging = sorted(thread.name for thread in threading.enumerate() if not thread.daemon and thread.is_alive())
    logger.error("process ended although threads hang", extra={"threads": hanging})
    os._exit(code)
