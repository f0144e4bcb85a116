"""The clocks of the service, passed in so that tests can control the time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` returns Unix seconds, for dates; `monotonic_ns` returns nanoseconds, for durations."""

    wall: Callable[[], float] = time.time
    monotonic_ns: Callable[[], int] = time.monotonic_ns
