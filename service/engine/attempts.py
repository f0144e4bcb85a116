"""When to try again to follow an alias to a version that failed to load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

_LONGEST_PAUSE = 600.0  # seconds between two attempts to load a version


@dataclass(frozen=True, slots=True)
class _PutOff:
    """A version that an alias points to in the store but that failed to load; retried at `until` (the loop's clock)."""

    exact: str
    pause: float
    until: float


class Attempts:
    """Pauses between attempts, which double as long as an alias points to the same version."""

    def __init__(self) -> None:
        self._put_off: dict[str, _PutOff] = {}

    def may_try(self, alias: str, exact: str) -> bool:
        """Return whether it is time to load this version for the alias."""
        last = self._put_off.get(alias)
        return last is None or last.exact != exact or asyncio.get_running_loop().time() >= last.until

    def note_failure(self, alias: str, exact: str, first_pause: float) -> None:
        """Note that the version could not be loaded."""
        last = self._put_off.get(alias)
        pause = first_pause if last is None or last.exact != exact else min(2 * last.pause, _LONGEST_PAUSE)
        self._put_off[alias] = _PutOff(exact, pause, asyncio.get_running_loop().time() + pause)

    def forget(self, alias: str) -> None:
        """Note that the alias is followed."""
        self._put_off.pop(alias, None)
