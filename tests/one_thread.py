"""How much processor time other threads take while this one computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

_WAIT = 0.25  # seconds in which idle threads of torch go to sleep


@contextmanager
def two_threads() -> Iterator[None]:
    """Let torch use two threads, however many this machine or OMP_NUM_THREADS gives it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds_of_others(work: Callable[[], object]) -> float:
    """Return the processor time of all other threads while `work` runs, with two threads for torch."""
    with two_threads():
        time.sleep(_WAIT)
        everything, mine = time.process_time(), time.thread_time()
        work()
        return time.process_time() - everything - (time.thread_time() - mine)
