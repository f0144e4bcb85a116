"""Memory of the C heap that is free, but has not been given back to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_C_LIBRARY: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def return_free_memory() -> None:
    """Give whole free pages back to the system; takes tens of milliseconds, without Python's lock.

    glibc keeps what an adapter's files and tensors took while it was loaded, in each thread that has read one, and what
    training steps took. Other C libraries give memory back by themselves, or cannot be asked.
    """
    if hasattr(_C_LIBRARY, "malloc_trim"):
        _C_LIBRARY.malloc_trim(0)
