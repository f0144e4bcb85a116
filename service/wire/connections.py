"""All open connections of a replica: how many there may be, which to evict, and who is late."""

from __future__ import annotations

import asyncio
import itertools
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
        # Those that wait for a header, the one that waits longest first: for the first header, or for a further one.
        self._silent: dict[Peer, None] = {}
        self._idle: dict[Peer, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def admit(self, peer: Peer) -> bool:
        """Count a new connection; return false if there is no room for it.

        At the limit, the connection that has waited longest for its first header is evicted, because honest clients
        send one at once; if there is none, the one that has waited longest for a further header. A client whose
        connection is evicted just as it asks again gets no answer.
        """
        if len(self._open) >= self.limit:
            oldest = next(itertools.chain(self._silent, self._idle), None)
            if oldest is None:
                return False
            self.forget(oldest)
            oldest.evict()
        self._open.add(peer)
        self._silent[peer] = None
        if self._timer is None:
            self._schedule()
        return True

    def wait(self, peer: Peer) -> None:
        """Note that a connection waits for its next request."""
        if peer in self._open:
            self._idle[peer] = None

    def work(self, peer: Peer) -> None:
        """Note that a connection has a request, and may not be evicted."""
        self._silent.pop(peer, None)
        self._idle.pop(peer, None)

    def forget(self, peer: Peer) -> None:
        """Note that a connection is closed."""
        self._open.discard(peer)
        self.work(peer)

    def _schedule(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_BETWEEN_CHECKS, self._check)

    def _check(self) -> None:
        self._timer = None
        now = time.monotonic()
        for peer in list(self._open):
            peer.check(now)
        if self._open:
            self._schedule()
