"""Scrapers of /metrics, however many and however eager, leave the questions their time."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.ports import free_port
from tests.service.fake_server import run_logged
from tests.service.problem_documents import QUESTION
from tests.service.readiness import wait_until_ready

pytestmark = [pytest.mark.slow, pytest.mark.timed]
ROOT = Path(__file__).parents[2]
TASKS = tuple(f"task-{number}" for number in range(20))
SCRAPERS = 12
QUESTIONS = 300


def test_twelve_scrapers_at_most_double_the_median_of_questions(store_dir: Path, tmp_path: Path) -> None:
    with _serving(store_dir, tmp_path) as address:
        rounds = [(_median_seconds(address), _median_while_scraped(address)) for _ in range(3)]
    ratios = [scraped / quiet for quiet, scraped in rounds]
    shown = ", ".join(f"{1000 * quiet:.1f} -> {1000 * scraped:.1f} ms" for quiet, scraped in rounds)
    print(f"median of /predict, quiet and with {SCRAPERS} scrapers: {shown}")
    assert min(ratios) < 2.0, shown


@contextmanager
def _serving(store_dir: Path, folder: Path) -> Iterator[str]:
    """A server process with three loaded versions and many tasks; every series exists."""
    port, url = free_port(), f"sqlite:///{folder}/ledger.sqlite3"
    context = multiprocessing.get_context("spawn")
    arguments = (str(folder / "log"), str(store_dir), port, 0.0)
    process = context.Process(target=run_logged, args=arguments, kwargs={"database_url": url, "tasks": TASKS})
    process.start()
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(address)
        for reference in ("toy@2", "other@1"):
            httpx2.post(f"{address}/models/{reference}/load", timeout=30).raise_for_status()
        assert httpx2.get(f"{address}/metrics", timeout=30).text.count("\n") > 10_000
        yield address
    finally:
        process.terminate()
        process.join(30)


def _median_seconds(address: str) -> float:
    seconds: list[float] = []
    with httpx2.Client(base_url=address, timeout=60) as client:
        for _ in range(QUESTIONS):
            begun = time.perf_counter()
            client.post("/predict", json=QUESTION).raise_for_status()
            seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def _median_while_scraped(address: str) -> float:
    command = [sys.executable, "-m", "tests.service.scrapers", address.rpartition(":")[2], str(SCRAPERS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as scrapers:
        try:
            assert scrapers.stdout is not None
            assert scrapers.stdout.readline() == b"scraped\n"
            return _median_seconds(address)
        finally:
            scrapers.kill()
