"""Time that passes only when a test says so."""

from __future__ import annotations

from uq4ct.service.access.clocks import Clocks


class FakeTime:
    """Both clocks of the service, moved together."""

    def __init__(self, start: float = 1_800_000_005) -> None:
        """Begin at a Unix second."""
        self._begin = self._ns = 5_000_000_000
        self.clocks = Clocks(wall=lambda: start + self._passed, monotonic_ns=lambda: self._ns)

    @property
    def _passed(self) -> float:
        return (self._ns - self._begin) / 1e9

    async def wait_until(self, passed: float) -> None:
        """Move on to so many seconds after the start."""
        self.advance(max(0.0, passed - self._passed))

    def advance(self, seconds: float) -> None:
        self._ns += round(seconds * 1e9)
