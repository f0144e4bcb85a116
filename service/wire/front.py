"""The factory of connections that uvicorn calls, in place of one of its own parsers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.server import ServerState

from uq4ct.service.http.unread_bodies import ARRIVED
from uq4ct.service.telemetry.metrics import Metrics
from uq4ct.service.wire.connection import Connection
from uq4ct.service.wire.connections import Connections
from uq4ct.service.wire.limits import WireLimits
from uq4ct.service.wire.parsers import ParserName, parser_class


def connection_factory(
    parser: ParserName,
    most_connections: int,
    metrics: Metrics,
    new_id: Callable[[], str],
    limits: WireLimits | None = None,
) -> type[asyncio.Protocol]:
    """Return what `uvicorn.Config(http=...)` takes, which is called like a class."""
    make = parser_class(parser)
    peers = Connections(most_connections)
    chosen = limits or WireLimits()

    def connect(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        def make_parser(has_arrived: Callable[[], bool]) -> asyncio.Protocol:
            state = {**app_state, ARRIVED: has_arrived}
            return make(config=config, server_state=server_state, app_state=state, _loop=_loop)

        return Connection(make_parser, peers, chosen, metrics, new_id)

    return cast(type[asyncio.Protocol], connect)
