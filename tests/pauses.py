"""How long a call keeps other threads waiting for the interpreter lock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def longest_pause_share(work: Callable[[], object]) -> float:
    """Run `work` in a thread; return the longest time that this thread waited for it, as a share of its duration.

    The smallest of some rounds: another process may take the core in one of them.
    """
    return min(_pause_share(work) for _ in range(3))


def _pause_share(work: Callable[[], object]) -> float:
    thread = threading.Thread(target=work)
    begin = last = time.perf_counter()
    longest = 0.0
    thread.start()
    while thread.is_alive():
        time.sleep(0.001)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    return longest / (last - begin)
