"""How many threads a forward uses: as many as other programs leave CPUs."""

from __future__ import annotations

import time
from collections.abc import Callable

_BETWEEN_LOOKS = 0.5  # seconds; the system counts CPU time in hundredths


class ThreadChoice:
    """Chooses the number of threads of the next forward; for the thread that owns the model.

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
        """Look at most twice a second what other programs do, and change the number of threads if they leave others."""
        now = self._clock()
        if self._busy_cpus is None or now - self._looked < _BETWEEN_LOOKS:
            return
        self._looked = now
        left = round(self._cpus - self._busy_cpus())
        threads = max(1, min(self._most, left))
        if threads != self.threads:
            self._use(threads)
            self.threads = threads
