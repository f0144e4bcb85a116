"""A service with the fake predictor that listens on a socket, in a thread of the test process."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry

from tests.manifests import make_draft
from tests.service.access.key_holder import KeyHolder
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.listening import listening
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.app import create_app
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """A file with one key `k` that has every scope."""
    holder = KeyHolder(tmp_path)
    holder.new("admin")
    return holder


@pytest.fixture
def fake_service(keys: KeyHolder, tmp_path: Path) -> Iterator[str]:
    """The address of a service that serves toy@1 and has others registered, among them that of the API's examples."""
    adapters = Registry(tmp_path / "store")
    for name in ("toy", "other", "arc-easy", "arc-easy", "arc-easy"):
        adapters.publish(make_draft(name), {"w": torch.ones(2)}, {}, promote=False)
    ids = TimeOrderedIds(time.time, secrets.randbits)
    settings = Settings(
        default_model="toy", database_url=f"sqlite:///{tmp_path}/ledger.sqlite3", api_keys_file=keys.file
    )
    host = FakeHost(FakePredictor(adapters.manifest("toy")))
    app = create_app(lambda: host, adapters, settings, CollectorRegistry(), ids)
    with listening(app) as address:
        yield address
