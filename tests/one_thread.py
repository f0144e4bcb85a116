"""How much processor time other threads take while this one computes."""

from __future__ import annotations

import time
from collections.abc import Callable

from uq4ct.model_store.threads import computing_with

_WAIT = 0.25  # seconds in which idle threads of torch go to sleep


def seconds_of_others(work: Callable[[], object]) -> float:
    """Return the processor time of all other threads while `work` runs, with two threads for torch."""
    with computing_with(2):
        time.sleep(_WAIT)
        everything, mine = time.process_time(), time.thread_time()
        work()
        return time.process_time() - everything - (time.thread_time() - mine)
