"""The operator's page over a large store and ledger: `python -m tests.benchmarks.page_load [VERSIONS PREDICTIONS]`.

Prints when the first screen is drawn, when everything is, and how much was sent; Chromium does what an operator sees.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from prometheus_client import CollectorRegistry

from tests.many_versions import copy_versions
from tests.service.conftest import draft
from tests.service.fake_predictor import FakeHost, FakePredictor
from tests.service.ledger.filled import FIRST_MS, STEP_MS, fill
from tests.service.listening import listening
from tests.service.page.browsing import Page, open_chromium
from uq4ct.model_store.storage.registry import Registry
from uq4ct.service.access.clocks import Clocks
from uq4ct.service.app import create_app
from uq4ct.service.ledger.database import Database
from uq4ct.service.ledger.migrating import migrate
from uq4ct.service.settings import Settings
from uq4ct.service.telemetry.request_ids import TimeOrderedIds

ROUNDS = 5
_CHUNK = 100_000  # rows that one statement inserts
# When each part is first drawn, in milliseconds since the navigation began.
WATCH = """
window.drawn = {};
const parts = {first: '#status-body .card', all: '.timeline svg'};
new MutationObserver(() => {
  for (const [name, selector] of Object.entries(parts)) {
    if (!(name in window.drawn) && document.querySelector(selector)) window.drawn[name] = performance.now();
  }
}).observe(document, {childList: true, subtree: true});
"""
SENT = """
const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
return [entries.length, entries.reduce((sum, entry) => sum + entry.transferSize, 0)];
"""


@dataclass(frozen=True, slots=True)
class Load:
    """One load of the page: seconds until the first screen and until everything, requests and bytes."""

    first: float
    everything: float
    requests: int
    sent: int


@contextmanager
def served(folder: Path, versions: int, predictions: int) -> Iterator[str]:
    """Serve a store with so many versions and a ledger with so many predictions; yield the address."""
    url = f"sqlite:///{folder}/ledger.sqlite3"
    migrate(url)
    with closing(Database(url)) as database:
        for first in range(0, predictions, _CHUNK):
            fill(database, first, min(first + _CHUNK, predictions) - 1, predictions)
    adapters = Registry(folder / "store")
    for name in ("toy", "other"):
        adapters.publish(draft(name), {"w": torch.ones(2)}, {}, promote=False)
    copy_versions(adapters, "other", versions - 2)
    copy_versions(adapters, "toy", 2)
    adapters.promote("toy", 2)
    end = (FIRST_MS + predictions * STEP_MS) / 1000
    begun = time.time()
    app = create_app(
        lambda: FakeHost(FakePredictor(adapters.manifest("toy@2"))),
        adapters,
        Settings(default_model="toy", database_url=url, retention_days=3650),
        CollectorRegistry(),
        TimeOrderedIds(time.time, secrets.randbits),
        clocks=Clocks(wall=lambda: end + time.time() - begun),
    )
    with listening(app) as address:
        yield address


def load(page: Page, address: str) -> Load:
    """Load the page once, with nothing in the browser's cache."""
    page.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    page.open_before(address, WATCH)
    page.until(lambda: page.run("return 'all' in window.drawn"))
    drawn = page.run("return window.drawn")
    requests, sent = page.run(SENT)
    return Load(drawn["first"] / 1000, drawn["all"] / 1000, requests, sent)


def main(versions: int = 5000, predictions: int = 1_000_000) -> None:
    """Print the medians of some loads."""
    with (
        tempfile.TemporaryDirectory() as name,
        served(Path(name), versions, predictions) as address,
        open_chromium(Path(name) / "chromium") as driver,
    ):
        page = Page(driver)
        page.resize(1440, 900)
        loads = [load(page, address) for _ in range(ROUNDS)]
    print(f"{versions:,} versions, {predictions:,} predictions; median of {ROUNDS} loads")
    print(f"first screen {statistics.median(one.first for one in loads):.2f} s")
    print(f"everything {statistics.median(one.everything for one in loads):.2f} s")
    print(f"{loads[-1].requests} requests, {loads[-1].sent / 1000:.0f} kB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
