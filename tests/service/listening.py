"""Serve an app on a real socket."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx2
import uvicorn
from fastapi import FastAPI

from tests.service.conftest import Replica


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve the app in a thread; yield its address once it is ready."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", ws="none", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield _wait_until_ready(server)
    finally:
        server.should_exit = True
        thread.join(30)


@asynccontextmanager
async def on_a_socket(replica: Replica) -> AsyncIterator[str]:
    """Serve a running replica in its own event loop; yield its address."""
    server = uvicorn.Server(uvicorn.Config(replica.app, port=0, lifespan="off", ws="none", log_config=None))
    running = asyncio.create_task(server.serve())
    await replica.settle(lambda: server.started)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def _wait_until_ready(server: uvicorn.Server) -> str:
    for _ in range(2000):
        if server.started:
            address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            if httpx2.get(f"{address}/health/ready", timeout=5).status_code == 200:
                return address
        time.sleep(0.005)
    raise TimeoutError("never became ready")
