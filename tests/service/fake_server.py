"""The real server process around the fake predictor: python -m tests.service.fake_server STORE PORT FORWARD_SECONDS."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from model_store.storage.registry import Registry
from service.app import create_app
from service.serving import serve
from service.settings import Settings
from service.telemetry.logs import log_to_stderr
from service.telemetry.request_ids import TimeOrderedIds
from tests.service.fake_predictor import FakeHost, FakePredictor

if __name__ == "__main__":
    store, port, seconds = sys.argv[1:]
    adapters = Registry(Path(store))
    settings = Settings(port=int(port), shutdown_grace_seconds=0.3, max_batch_tokens=64, default_model="toy")
    log_to_stderr(settings.log_level)
    app = create_app(
        lambda: FakeHost(FakePredictor(adapters.manifest("toy"), seconds=float(seconds))),
        adapters,
        settings,
        CollectorRegistry(),
        TimeOrderedIds(time.time, secrets.randbits),
    )
    asyncio.run(serve(app, settings))
