"""The last resort at the end of the process: nothing that hangs keeps it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 10.0  # the interpreter's own end takes well below one; sending the last traces may take longer

logger = logging.getLogger(__name__)


@contextmanager
def ending_despite_hangs() -> Iterator[None]:
    """End the process SECONDS after the block if it does not end by itself, with the same exit code.

    The interpreter waits for threads, and libraries have some. The block must leave nothing behind that is to be kept.
    """
    code = 1
    try:
        yield
        code = 0
    finally:
        timer = threading.Timer(SECONDS, _end, [code])
        timer.daemon = True
        timer.start()


def _end(code: int) -> None:
    own = (threading.current_thread(), threading.main_thread())
    hanging = sorted(thread.name for thread in threading.enumerate() if thread not in own)
    logger.error("process ended although threads hang", extra={"threads": hanging})
    os._exit(code)
