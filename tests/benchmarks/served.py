"""The service in its own process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from tests.ports import free_port

# `uq4ct serve`, also where the package is not installed and its entry points cannot be found.
_SERVE = "from uq4ct.service.cli import cli; cli(['serve'])"


@dataclass(frozen=True, slots=True)
class RunningService:
    """A ready service: its address, its start-up time and its process."""

    port: int
    seconds_to_ready: float
    process: psutil.Process

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def resident_megabytes(self) -> float:
        return self.process.memory_info().rss / 1e6


@contextmanager
def running_service(store: Path, descriptors: int | None = None, /, **settings: str) -> Iterator[RunningService]:
    """Run the service on a store until the block ends, on a free port unless PORT is set; waits until it is ready.

    `descriptors` is the limit on its open files, soft and hard; None = that of this process.
    """
    port = int(settings.get("PORT", free_port()))
    fixed = {"MODEL_STORE_DIR": str(store), "PORT": str(port), "LOG_LEVEL": "warning", "SHUTDOWN_GRACE_SECONDS": "0"}
    fixed["DATABASE_URL"] = f"sqlite:///{store.parent}/ledger.sqlite3"
    environment = os.environ | {f"UQ4CT_{name}": value for name, value in (fixed | settings).items()}
    start = time.perf_counter()
    limit = [] if descriptors is None else ["prlimit", f"--nofile={descriptors}"]
    process = subprocess.Popen([*limit, sys.executable, "-c", _SERVE], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        while not _is_ready(address):
            if process.poll() is not None:
                raise RuntimeError(f"the service ended with exit code {process.returncode}")
            time.sleep(0.05)
        yield RunningService(port, time.perf_counter() - start, psutil.Process(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/health/ready", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False
