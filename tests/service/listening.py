"""Serve an app on a real socket, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import uvicorn
from fastapi import FastAPI


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Yield the address of the app once it is ready."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="on", ws="none", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield _wait_until_ready(server)
    finally:
        server.should_exit = True
        thread.join(30)


def _wait_until_ready(server: uvicorn.Server) -> str:
    for _ in range(2000):
        if server.started:
            address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
            if httpx2.get(f"{address}/health/ready", timeout=5).status_code == 200:
                return address
        time.sleep(0.005)
    raise TimeoutError("never became ready")
