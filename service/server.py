"""One uvicorn process around the app, and its graceful shutdown on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket

import uvicorn
from fastapi import FastAPI

from uq4ct.model_store.errors import UserError
from uq4ct.service.context import Context
from uq4ct.service.ending import end_now
from uq4ct.service.engine.failures import WorkerDiedError
from uq4ct.service.settings import Settings
from uq4ct.service.wire.front import connection_factory
from uq4ct.service.wire.limits import connection_limit

_SECONDS_TO_SEND_ANSWERS = 10  # to clients that read slowly, after the last answer is known
_ACCEPTED_A_TURN = 32  # connections; several turns pass until the evicted ones are closed, so far below the reserve
_BACKLOG = 2048  # connections that wait to be accepted
_NEVER = 10**6  # seconds; the limits of the wire come first
_UNLIMITED = 2**30  # bytes; likewise

logger = logging.getLogger(__name__)


class AddressError(UserError):
    """The service cannot listen on UQ4CT_HOST and UQ4CT_PORT; the message has the system's reason."""


class Server(uvicorn.Server):
    """uvicorn with the limits of `uq4ct.service.wire` in front of its parser."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        """Raises ConnectionLimitError: UQ4CT_MAX_CONNECTIONS is above what the limit on open files allows."""
        context: Context = app.state.context
        connect = connection_factory(
            settings.http_parser,
            connection_limit(settings.max_connections),
            context.metrics,
            context.prediction_ids.new,
        )
        config = uvicorn.Config(
            app,
            http=connect,
            root_path=settings.root_path,
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_ACCEPTED_A_TURN,
            timeout_keep_alive=_NEVER,
            h11_max_incomplete_event_size=_UNLIMITED,
            timeout_graceful_shutdown=_SECONDS_TO_SEND_ANSWERS,
        )
        super().__init__(config)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then lengthen the queue of the system, which asyncio makes as long as what it accepts in one turn."""
        await super().startup(sockets)
        for listening in sockets or []:
            listening.listen(_BACKLOG)


async def serve(app: FastAPI, settings: Settings) -> None:
    """Serve until SIGTERM, SIGHUP or SIGINT, then answer all admitted questions and return.

    Raises:
        AddressError: the address is in use, not an address of this machine, or not allowed.
        Exception: whatever loading the model or opening the ledger raised.
        WorkerDiedError: the model's thread has ended.
    """
    server = Server(app, settings)
    sockets = _listen(settings.host, settings.port)
    # The task first runs when `serve` first awaits, after uvicorn has set its own signal handlers.
    supervisor = asyncio.create_task(_supervise(server, app.state.context, settings.shutdown_grace_seconds))
    try:
        await server.serve(sockets)
    finally:
        for listening in sockets:
            listening.close()
        supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervisor


def _listen(host: str, port: int) -> list[socket.socket]:
    """Open a listening socket for each address of a host; uvicorn itself would only log a failure and `sys.exit`."""
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                listening = stack.enter_context(socket.create_server(address[:2], family=family))
                # asyncio does this only for sockets whose protocol number is set. Without it, the second write of a
                # response waits until the client acknowledges the first, which takes 40 ms.
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets.append(listening)
        except OSError as error:
            message = f"UQ4CT_HOST, UQ4CT_PORT: cannot listen on {host}:{port}: {_reason(error)}"
            if error.errno == errno.EADDRINUSE:
                message += ": stop the program that listens there, or choose another port with UQ4CT_PORT or --port"
            raise AddressError(message) from error
        stack.pop_all()
    return sockets


def _reason(error: OSError) -> str:
    """What the system says; `create_server` adds the address, which the message has already."""
    return (error.strerror or str(error)).partition(" (while")[0]


async def _supervise(server: uvicorn.Server, context: Context, grace: float) -> None:
    """Stop the server if it cannot start or the model's thread ends; stop it in steps after a signal.

    The steps: report not ready, reject new questions, exit.
    """
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    for number in (signal.SIGUSR1, signal.SIGUSR2):  # they mean nothing here; unhandled, they would end the process
        loop.add_signal_handler(number, _ignore, number)
    stop = asyncio.create_task(signals.get())
    start = asyncio.create_task(_started(context))
    death = asyncio.create_task(context.engine.wait_until_dead())
    try:
        await asyncio.wait({stop, start}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
        elif stop.result() is signal.SIGINT:  # nothing is admitted yet, and the thread that loads cannot be stopped
            end_now("the model was still loading, so no question was admitted: run the same command again")
        await asyncio.wait({stop, death}, return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            raise WorkerDiedError("the model's thread has ended")
        received = await stop
        logger.info("shutting down", extra={"signal": received.name})
        context.engine.leave()
        if received is not signal.SIGINT:  # a load balancer needs time to notice; a person at a keyboard does not
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(signals.get(), grace)  # a second signal ends the grace period
        await context.engine.drain()
    finally:
        server.should_exit = True
        stop.cancel()
        start.cancel()
        death.cancel()


def _ignore(received: signal.Signals) -> None:
    logger.info("signal ignored", extra={"signal": received.name})


async def _started(context: Context) -> None:
    """Return when the ledger is open and the model is loaded; raise the first error of either."""
    starts = [
        asyncio.create_task(context.ledger.wait_until_opened()),
        asyncio.create_task(context.engine.wait_until_loaded()),
    ]
    try:
        await asyncio.gather(*starts)
    finally:
        for start in starts:
            start.cancel()
