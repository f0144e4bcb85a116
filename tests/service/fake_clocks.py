"""Time that passes only when a test says so."""

from __future__ import annotations

from service.clocks import Clocks


class FakeTime:
    """Both clocks of the service, moved together."""

    def __init__(self) -> None:
        self._ns = 5_000_000_000
        self.clocks = Clocks(wall=lambda: 1_800_000_000 + self._ns / 1e9, monotonic_ns=lambda: self._ns)

    def advance(self, seconds: float) -> None:
        self._ns += round(seconds * 1e9)
