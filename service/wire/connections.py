"""All open connections of a replica: how many there may be, which to evict, and who is late."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

_BETWEEN_CHECKS = 1.0  # seconds


class Peer(Protocol):
    """An open connection."""

    def check(self, now: float) -> None:
        """Close if a deadline has passed; `now` is in monotonic seconds."""
        ...

    def evict(self) -> None:
        """Close at once, for a newer connection."""
        ...


class Connections:
    """The open connections, at most `limit`; for the event loop's thread."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._open: set[Peer] = set()
        self._waiting: dict[Peer, None] = {}  # without a complete header, the one that waits longest first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def admit(self, peer: Peer) -> bool:
        """Count a new connection; return false if there is no room for it.

        At the limit, the connection that has waited longest for a header is evicted. An honest client sends a header
        in one piece, so it seldom is one of those.
        """
        if len(self._open) >= self.limit:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                return False
            self.forget(oldest)
            oldest.evict()
        self._open.add(peer)
        self._waiting[peer] = None
        if self._timer is None:
            self._schedule()
        return True

    def wait(self, peer: Peer) -> None:
        """Note that a connection waits for its next request."""
        if peer in self._open:
            self._waiting[peer] = None

    def work(self, peer: Peer) -> None:
        """Note that a connection has a request, and may not be evicted."""
        self._waiting.pop(peer, None)

    def forget(self, peer: Peer) -> None:
        """Note that a connection is closed."""
        self._open.discard(peer)
        self._waiting.pop(peer, None)

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_BETWEEN_CHECKS, self._check)

    def _check(self) -> None:
        self._timer = None
        now = time.monotonic()
        for peer in list(self._open):
            peer.check(now)
        if self._open:
            self._schedule()
