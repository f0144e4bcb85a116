"""The real server process around the fake predictor: python -m tests.service.fake_server STORE PORT SECONDS LEDGER.

A fifth argument is the seconds that loading takes, in a thread that ends no sooner.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tests.service.fake_predictor import FakeHost, FakePredictor
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.ending import ending_despite_hangs
from uq4ct.service.server import serve
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.logs import log_to_stderr
from uq4ct.service.telemetry.request_ids import TimeOrderedIds


def run(store: str, port: int, seconds: float, *, loading: float = 0.0, **changes: Any) -> None:
    """Serve until a signal; each forward takes `seconds`."""
    adapters = Registry(Path(store))
    settings = Settings(port=port, shutdown_grace_seconds=0.3, max_batch_tokens=64, default_model="toy", **changes)
    log_to_stderr(settings.log_level)

    def load() -> FakeHost:
        time.sleep(loading)
        return FakeHost(FakePredictor(adapters.manifest("toy"), seconds=seconds))

    app = create_app(
        load,
        adapters,
        settings,
        CollectorRegistry(),
        TimeOrderedIds(time.time, secrets.randbits),
    )
    with ending_despite_hangs():
        asyncio.run(serve(app, settings))


def run_logged(log: str, *arguments: Any, **changes: Any) -> None:
    """Call `run` with stderr appended to a file."""
    sys.stderr = Path(log).open("a", buffering=1, encoding="utf-8")  # noqa: SIM115  # until the process exits
    run(*arguments, **changes)


if __name__ == "__main__":
    loading = float(sys.argv[5]) if len(sys.argv) > 5 else 0.0
    run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), loading=loading, database_url=sys.argv[4])
