"""The clocks that the service reads, passed in so that time can be told to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clocks:
    """`wall` in seconds since 1970, for what has a date; `monotonic_ns` in nanoseconds, for what has a duration."""

    wall: Callable[[], float] = time.time
    monotonic_ns: Callable[[], int] = time.monotonic_ns
