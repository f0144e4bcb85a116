"""A service on a socket with a labelled ledger, and a real browser that opens its page."""

from __future__ import annotations

import random
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client import CollectorRegistry
from selenium import webdriver

from tests.service.access.key_holder import KeyHolder
from tests.service.conftest import draft
from tests.service.fake_predictor import FakeHost
from tests.service.ledger.conftest import id_of_age, insert, insert_label, make_record
from tests.service.listening import listening
from tests.service.page.browsing import Page, open_chromium
from uq4ct.model_store.storage.manifest import ReferenceCurve
from uq4ct.model_store.storage.registry import Registry
from uq4ct.model_store.uncertainty.selective_curve import THRESHOLDS
from uq4ct.service.app import create_app
from uq4ct.service.ledger.database import Database
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

# The page does not load again by itself after half a minute: a slow test would lose the elements that it looks at.
STILL = """{
const real = window.setTimeout;
window.setTimeout = (work, pause) => pause === 30000 ? 0 : real(work, pause);
}"""

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="session")
def store_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with toy@1 (production), toy@2 (staging), both with curves at every threshold, and other@1."""
    root = tmp_path_factory.mktemp("store")
    adapters = Registry(root)
    answered = tuple(500 - 5 * step for step in range(101))
    wrong = tuple(n * n // 2000 for n in answered)
    curve = ReferenceCurve(questions=500, thresholds=THRESHOLDS, answered=answered, wrong=wrong)
    whole = draft("toy").model_copy(update={"reference_curve": curve})
    for one in (whole, whole, draft("other")):
        adapters.publish(one, {"w": torch.ones(2)}, {}, promote=False)
    adapters.promote("toy", 2, "staging")
    return root


@pytest.fixture
def keys(tmp_path: Path) -> KeyHolder:
    """A file with one key `k` with the scopes predict and feedback."""
    holder = KeyHolder(tmp_path)
    holder.new("predict", "feedback")
    return holder


@pytest.fixture
def ledger(tmp_path: Path, empty_ledger: Path) -> Iterator[Database]:
    """The empty ledger of the service."""
    database = Database(f"sqlite:///{shutil.copy(empty_ledger, tmp_path)}")
    yield database
    database.close()


@pytest.fixture
def labelled_ledger(ledger: Database) -> Database:
    """The ledger with 400 overconfident predictions of toy@1, three quarters of them labelled."""
    draw = random.Random(11)
    for number in range(400):
        p = draw.uniform(0.3, 1.0)
        record = make_record(
            prediction_id=id_of_age(days=draw.uniform(0.01, 0.9)),
            tenant="default",
            option=1,
            confidence=p,
            probabilities=(1 - p, p),
            bin=min(int(p * 15), 14),
            abstain=p < 0.6,
            threshold=0.6,
        )
        insert(ledger, record)
        if number % 4:
            insert_label(ledger, record, int(draw.random() < p - 0.12))
    return ledger


@pytest.fixture
def serve(adapters: Registry, host: FakeHost, ledger: Database) -> Serve:
    """Serve on a socket: serve(adapters=..., **settings) yields the address; toy is the default model."""

    @contextmanager
    def run(adapters: Registry = adapters, **settings: Any) -> Iterator[str]:
        url = ledger.engine.url.render_as_string(hide_password=False)
        app = create_app(
            host.load,
            adapters,
            Settings(**{"default_model": "toy", "database_url": url, **settings}),
            CollectorRegistry(),
            TimeOrderedIds(time.time, secrets.randbits),
        )
        with listening(app) as address:
            yield address

    return run


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One Chromium for all tests."""
    with open_chromium(tmp_path_factory.mktemp("chromium")) as driver:
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": STILL})
        yield driver


@pytest.fixture
def page(driver: webdriver.Chrome) -> Page:
    """The browser for one test; each service has its own port and therefore its own sessionStorage."""
    driver.get_log("browser")  # discard messages of earlier tests
    page = Page(driver)
    page.resize(1280, 900)
    return page
