"""Clocks that advance only when a test advances them."""

from __future__ import annotations

from uq4ct.service.access.clocks import Clocks


class FakeTime:
    """Both clocks of the service, advanced together."""

    def __init__(self, start: float = 1_800_000_005) -> None:
        """Start at the Unix time `start`, in seconds."""
        self._begin = self._ns = 5_000_000_000
        self.clocks = Clocks(wall=lambda: start + self._passed, monotonic_ns=lambda: self._ns)

    @property
    def _passed(self) -> float:
        return (self._ns - self._begin) / 1e9

    async def wait_until(self, passed: float) -> None:
        """Advance to `passed` seconds after the start."""
        self.advance(max(0.0, passed - self._passed))

    def advance(self, seconds: float) -> None:
        self._ns += round(seconds * 1e9)
