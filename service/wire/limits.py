"""How much a connection may send, and how long it may take."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from uq4ct.model_store.errors import UserError

RESERVED_DESCRIPTORS = 256  # for connections accepted in one turn of the event loop, the store, the ledger and logs
_MOST_CONNECTIONS = 4_096  # unless the setting says otherwise


class ConnectionLimitError(UserError):
    """UQ4CT_MAX_CONNECTIONS is above what the limit on open files allows."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """Limits of one connection, in bytes and seconds.

    `head_bytes` and `header_count` limit the header of a request, and once more the trailers of its body.
    `framing_bytes` limits chunk sizes and extensions, beyond one byte for each byte of content. A body may take
    `body_seconds` plus its size divided by `body_rate` (bytes per second).
    """

    line_bytes: int = 8_192
    header_count: int = 100
    head_bytes: int = 32_768
    framing_bytes: int = 65_536
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    body_rate: float = 500.0
    idle_seconds: float = 75.0  # longer than the proxies in front keep a connection open, usually 60
    stall_seconds: float = 30.0  # without a byte of the response taken
    linger_seconds: float = 2.0  # for the client to read a refusal while its body still arrives


def connection_limit(configured: int | None) -> int:
    """Return how many connections may be open, after raising this process's soft limit on open files.

    Raises:
        ConnectionLimitError: the configured number does not fit below the limit on open files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (configured or _MOST_CONNECTIONS) + RESERVED_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < wanted and configured is not None:
            raise ConnectionLimitError(
                f"UQ4CT_MAX_CONNECTIONS {configured} is above {max(soft - RESERVED_DESCRIPTORS, 0)}, what the limit of "
                f"{soft} open files allows (`ulimit -n`)"
            )
        return max(soft - RESERVED_DESCRIPTORS, soft // 4)
    return configured or _MOST_CONNECTIONS
