"""A service with the fake predictor that listens on a socket, in a thread of the tests."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch
import uvicorn
from prometheus_client import CollectorRegistry

from model_store.base_identity import BaseIdentity
from model_store.storage.manifest import ManifestDraft
from model_store.storage.registry import Registry
from service.app import create_app
from service.settings import Settings
from service.telemetry.request_ids import TimeOrderedIds
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.key_holder import KeyHolder


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """A file with one key `k` that may do everything."""
    holder = KeyHolder(tmp_path)
    holder.new("admin")
    return holder


@pytest.fixture
def fake_service(keys: KeyHolder, tmp_path: Path, make_tiny_draft: Callable[..., ManifestDraft]) -> Iterator[str]:
    """The address of a service that answers with toy@1 and has other@1 registered."""
    adapters = Registry(tmp_path / "store")
    base = BaseIdentity(name="tiny", revision=None, digest="sha256:" + "0f" * 32, model_type="llama")
    for name in ("toy", "other"):
        adapters.publish(make_tiny_draft(base, name=name), {"w": torch.ones(2)}, {}, promote=False)
    ids = TimeOrderedIds(time.time, secrets.randbits)
    settings = Settings(
        default_model="toy", database_url=f"sqlite:///{tmp_path}/ledger.sqlite3", api_keys_file=keys.file
    )
    host = FakeHost(FakePredictor(adapters.manifest("toy")))
    app = create_app(lambda: host, adapters, settings, CollectorRegistry(), ids)
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
            if httpx.get(f"{address}/health/ready", timeout=5).status_code == 200:
                return address
        time.sleep(0.005)
    raise TimeoutError("never became ready")
