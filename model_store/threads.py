"""How many threads a forward uses: as many as other programs leave CPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from uq4ct.model_store.cpus import usable_cpus

_BETWEEN_LOOKS = 0.5  # seconds; the system counts CPU time in hundredths


class ThreadChoice:
    """Chooses the number of threads of the next forward; for the thread that runs the model.

    The threads of a forward wait for the slowest of them at hundreds of points. If it shares its CPU with another
    program, all wait, and two threads on one and a half CPUs are slower than one thread.

    Args:
        most: threads of a forward while other programs leave the CPUs idle.
        cpus: the CPUs that this process can use.
        busy_cpus: returns how many of them other programs used since the last call; None = always use `most`.
        use: sets the number of threads.
    """

    def __init__(
        self,
        most: int,
        cpus: int,
        busy_cpus: Callable[[], float] | None,
        use: Callable[[int], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._cpus = cpus
        self._busy_cpus = busy_cpus
        self._use = use
        self._clock = clock
        self._looked = clock()
        self.threads = most

    def adapt(self) -> None:
        """Set the number of threads, after a look at what other programs do; it looks at most twice a second.

        The number is set each time, since `computing_with` in another thread may have changed it.
        """
        now = self._clock()
        if self._busy_cpus is not None and now - self._looked >= _BETWEEN_LOOKS:
            self._looked = now
            self.threads = max(1, min(self._most, round(self._cpus - self._busy_cpus())))
        self._use(self.threads)


def most_threads() -> int:
    """Return one thread for each usable CPU, but not more than torch starts with: OMP_NUM_THREADS, where it is set."""
    return min(torch.get_num_threads(), usable_cpus())


@contextmanager
def computing_with(threads: int) -> Iterator[None]:
    """Let the tensor operations of the block use so many threads, in the thread that calls; work beside the model: 1.

    Otherwise OpenMP starts threads for this caller, too, and keeps them. Once the threads of all callers are more than
    the CPUs, libgomp no longer spins at its barriers, and every forward takes up to twice as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
