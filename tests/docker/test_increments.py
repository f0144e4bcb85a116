"""Increments of 5 minutes, added up over 24h, against the raw counters: over restarts, gaps and replicas that end.

`increase` over 24h extrapolates each series to the ends of its window by at most 1.1 times its mean gap; the sum of
increments does not. Only an increment within which a replica restarts is extrapolated, and may be a quarter off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Summary, start_http_server

from tests.docker.prometheus_rules import INCREMENTS_FILE, SUMMED
from tests.docker.prometheus_server import PrometheusServer, running_prometheus
from tests.docker.promtool import promtool
from tests.ports import free_port

pytestmark = pytest.mark.slow

SCRAPE = 15  # seconds
SCRAPES = 25 * 3600 // SCRAPE + 1
COUNT = 'uq4ct_prediction_confidence_count{model="toy", version="1", task="other"}'
RECORDED = 'model_version_task:uq4ct_prediction_confidence_count:increase5m{model="toy", version="1", task="other"}'
OF_A_DAY = f"sum(increase({COUNT}[24h]))"
ADDED_UP = f"sum(sum_over_time({RECORDED}[{SUMMED}]))"


@dataclass(frozen=True)
class Life:
    """What one process of a replica shows at each scrape, None where it is not scraped, and when it starts and ends."""

    shown: list[float | None]
    first: int
    last: int


def _life(chance: random.Random, first: int, last: int, rate: float, gaps: list[tuple[int, int]]) -> Life:
    """A process that answers `rate` questions between two scrapes on average, and cannot be scraped in the gaps."""
    value = 0.0
    shown: list[float | None] = []
    for scrape in range(first, last):
        value += 0 if scrape == first else sum(chance.random() < rate / 10 for _ in range(10))
        shown.append(None if any(begin <= scrape < end for begin, end in gaps) else value)
    return Life(shown, first, last)


def _series(instance: str, lives: list[Life]) -> dict[str, str]:
    """The scrapes of a replica as promtool's input; Prometheus marks a series as stale where a scrape fails."""
    values: list[float | None] = [None] * SCRAPES
    for life in lives:
        values[life.first : life.last] = life.shown
    written = [
        repr(value) if value is not None else "stale" if before is not None else "_"
        for before, value in zip([None, *values], values, strict=False)
    ]
    return {"series": COUNT.replace("}", f', instance="{instance}"}}'), "values": " ".join(written)}


def _check(folder: Path, series: list[dict[str, str]], *checks: str) -> None:
    """Let promtool evaluate conditions, each 1 if it holds, at 24h after the first hour."""
    case: dict[str, Any] = {
        "interval": f"{SCRAPE}s",
        "input_series": series,
        "promql_expr_test": [
            {"expr": check, "eval_time": "25h", "exp_samples": [{"labels": "{}", "value": 1}]} for check in checks
        ],
    }
    path = folder / "case.yml"
    document = {"rule_files": [str(INCREMENTS_FILE)], "evaluation_interval": "5m", "tests": [case]}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    promtool("test", "rules", path)


@pytest.mark.parametrize("rate", [0.02, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_increments_add_up_to_what_is_counted_in_a_day(tmp_path: Path, seed: int, rate: float) -> None:
    """Without restarts the sum is exact; three replicas, of which one comes later and one ends, with gaps in two."""
    chance = random.Random(f"{seed} {rate}")
    hour = 3600 // SCRAPE
    lives = [
        _life(chance, 0, SCRAPES, rate, [(5 * hour, 5 * hour + 7), (9 * hour, 12 * hour)]),
        _life(chance, 7 * hour + 11, SCRAPES, rate, []),
        _life(chance, 0, 15 * hour + 3, rate, [(3 * hour + 1, 4 * hour + 2)]),
    ]
    within = sum(_counted(life) for life in lives)
    series = [_series(name, [life]) for name, life in zip("abc", lives, strict=True)]
    # Both windows begin at 1h, an increment ends there, and no replica is in a gap then.
    extrapolated = 3 * 1.1 * 2 * rate + 0.002 * within
    _check(
        tmp_path,
        series,
        f"{ADDED_UP} == bool {within}",
        f"abs({ADDED_UP} - {OF_A_DAY}) <= bool {extrapolated}",
    )


def _counted(life: Life) -> float:
    """What a process has counted between 1h and 25h, from its first scrape on."""
    hour = 3600 // SCRAPE
    shown = [value for value in life.shown if value is not None]
    before = [value for value in life.shown[: max(0, hour - life.first) + 1] if value is not None]
    return shown[-1] - (before[-1] if life.first <= hour else shown[0])


@pytest.mark.parametrize("seed", range(3))
def test_increments_add_up_over_restarts(tmp_path: Path, seed: int) -> None:
    """Twelve restarts, some within one increment and some over several, some of them hidden in a gap."""
    chance = random.Random(seed)
    rate = 2
    starts = sorted(chance.sample(range(300, SCRAPES - 300, 60), 12))
    lives: list[Life] = []
    for first, following in zip([0, *starts], [*starts, SCRAPES], strict=True):
        down = 0 if following == SCRAPES else chance.choice([1, 2, 6, 30, 50])
        lives.append(_life(chance, first, following - down, rate, []))
    within = sum(_counted(life) for life in lives)
    of_an_increment = rate * 300 / SCRAPE
    off = 12 * 0.25 * of_an_increment
    assert off < 0.02 * within
    _check(
        tmp_path,
        [_series("a", lives)],
        f"abs({ADDED_UP} - {within}) <= bool {off}",
        f"abs({ADDED_UP} - {OF_A_DAY}) <= bool {off + 12 * 2 * rate + 0.002 * within}",
    )


@dataclass(frozen=True)
class Counting:
    """A process that shows a counter, and its address."""

    counter: Summary
    address: str


@contextmanager
def _counting() -> Iterator[Counting]:
    """Count about 50 a second, in another thread."""
    registry = CollectorRegistry()
    summary = Summary("uq4ct_prediction_confidence", "Confidence", ["model", "version", "task"], registry=registry)
    port = free_port()
    server, serving = start_http_server(port, "127.0.0.1", registry)
    counter = summary.labels("toy", "1", "other")
    ended = threading.Event()

    def count() -> None:
        while not ended.wait(0.02):
            counter.observe(0.5)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield Counting(counter, f"127.0.0.1:{port}")
    finally:
        ended.set()
        thread.join()
        server.shutdown()
        server.server_close()
        serving.join()


def test_what_is_counted_while_prometheus_is_down_is_added_up_when_it_is_back(tmp_path: Path) -> None:
    """A real Prometheus is stopped for 15 seconds, three times an increment, and started on the same data."""
    with _counting() as counting:
        with running_prometheus(tmp_path, [counting.address], "10m") as prometheus:
            prometheus.wait_for(f"sum(sum_over_time({RECORDED}[10m])) > 100")
        before = time.monotonic()
        time.sleep(15)
        with running_prometheus(tmp_path, [counting.address], "10m") as prometheus:
            (last,) = prometheus.values(f"max_over_time(replica:{_name(COUNT)}:last5m[10m])").values()
            prometheus.wait_for(f"max(replica:{_name(COUNT)}:last5m) > {last + 1}")
            assert time.monotonic() - before > 15
            _compare(prometheus)


def _name(selector: str) -> str:
    return selector.partition("{")[0]


def _compare(prometheus: PrometheusServer) -> None:
    """The sum of the increments is the last value less the first one that was scraped."""
    at = time.time()
    (counted,) = prometheus.values(f"replica:{_name(COUNT)}:last5m - min_over_time({COUNT}[10m])", at=at).values()
    (added,) = prometheus.values(f"sum(sum_over_time({RECORDED}[10m]))", at=at).values()
    assert counted > 500
    assert added == counted
