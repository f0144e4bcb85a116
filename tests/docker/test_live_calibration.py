"""Two real replicas on one ledger, one of them restarted, under a real Prometheus with the shipped rules.

The results of PromQL are compared with the ledger. `increase` extrapolates a series to the end of its window by at most
1.1 times its mean gap, so by a factor of at most 1 + 1.1 / gaps, the same for all series of a replica. Each bound below
follows from that. At the start nothing is extrapolated, because every series begins with a scraped zero.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.benchmarks.served import running_service
from tests.conftest import PublishedTiny
from tests.docker.grafana import panel_expressions
from tests.docker.live_traffic import BATCH, Offline, population_stability, read_ledger, send_traffic
from tests.docker.prometheus_server import PrometheusServer, running_prometheus
from tests.ports import free_port
from uq4ct.client import Client
from uq4ct.model_store.decisions import Abstention, ConformalSets, Decisions
from uq4ct.model_store.decisions import TestedDecisions as OnTestSplit
from uq4ct.model_store.storage.manifest import ReferenceHistograms

pytestmark = pytest.mark.slow
WINDOW = "10m"
LABELLED = {  # the metric of each sum
    "N": "uq4ct_labelled_predictions_total",
    "S": "uq4ct_labelled_confidence_total",
    "C": "uq4ct_labelled_correct_total",
    "V": "uq4ct_labelled_variance_total",
    "brier": "uq4ct_labelled_top_label_brier_total",
    "z_variance": "uq4ct_labelled_z_variance_total",
}
LAST_RULES = (  # of the groups increments, calibration and drift
    "model_version_task_le:uq4ct_label_delay_seconds:increase5m",
    "model_version_task:uq4ct_labelled:ratio24h",
    "model_version:uq4ct_feu:psi24h",
)
REFERENCE = ReferenceHistograms(
    bins=15,
    questions=150,
    confidence=(0, 0, 0, 0, 5, 20, 25, 25, 20, 15, 10, 10, 10, 5, 5),
    feu=(0,) * 7 + (50, 50, 50) + (0,) * 5,
    accuracy=0.5,
    ece=0.05,
)
DECISIONS = Decisions(
    sets=ConformalSets(
        score="lac", coverage=0.8, max_set_size=None, questions=19, scores=tuple(n / 20 for n in range(1, 20))
    ),
    abstention=Abstention(
        target="coverage",
        value=0.5,
        guarantee=0.95,
        threshold=0.45,
        questions=150,
        risk=0.3,
        risk_bound=0.4,
        coverage=0.6,
        coverage_bound=0.5,
    ),
    tested=OnTestSplit(set_coverage=0.9, mean_set_size=1.5, answered=0.7, selective_risk=0.1),
)


@dataclass(frozen=True)
class Traffic:
    """The state after the traffic: Prometheus, the ledger, and the replicas' addresses and restart."""

    prometheus: PrometheusServer
    ledger: dict[str, Offline]
    addresses: tuple[str, str]
    restarted_at: float  # Unix seconds: after the last scrape of the first process, before the second one starts
    stretch: float  # the factor by which an increase may be too large


@pytest.fixture(scope="module")
def traffic(
    publish_tiny_in: Callable[..., PublishedTiny], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traffic]:
    """Send at least 2,000 labelled questions to both replicas, and restart the first one in between."""
    folder = tmp_path_factory.mktemp("live")
    published = publish_tiny_in(folder / "store", reference_histograms=REFERENCE, decisions=DECISIONS)
    url = f"sqlite:///{folder}/ledger.sqlite3"
    settings = {"DATABASE_URL": url, "TASKS": "quiz", "DTYPE": "float32", "THREADS": "1"}
    store = published.registry.root
    ports = (free_port(), free_port())
    addresses = tuple(f"127.0.0.1:{port}" for port in ports)
    with ExitStack() as stack, running_prometheus(folder, addresses, WINDOW) as prometheus:
        clients = [stack.enter_context(Client(f"http://{address}")) for address in addresses]
        stack.enter_context(running_service(store, PORT=str(ports[1]), **settings))
        with running_service(store, PORT=str(ports[0]), **settings):
            _scraped(prometheus, *addresses)
            labels = send_traffic(clients, batches=20, seed=1)
            restarted_at = _scraped(prometheus, *addresses)
        stack.enter_context(running_service(store, PORT=str(ports[0]), **settings))
        _scraped(prometheus, *addresses)
        _recorded(prometheus)  # the zeros, too: a counter that has passed its old value hides the restart
        labels += send_traffic(clients, batches=26, seed=2)
        _scraped(prometheus, *addresses)
        assert labels >= 2000
        prometheus.wait_for("uq4ct_sequential_log_evidence > 0")
        _recorded(prometheus)
        samples = f"min by (instance) (count_over_time(uq4ct_labelled_predictions_total[{WINDOW}]))"
        prometheus.wait_for(f"min({samples}) > 24")
        gaps = min(prometheus.values(samples, "instance").values()) - 1
        yield Traffic(prometheus, read_ledger(url), (addresses[0], addresses[1]), restarted_at, 1 + 1.1 / gaps)


def _scraped(prometheus: PrometheusServer, *addresses: str) -> float:
    """Wait until every replica's state as of this call has been scraped; return the Unix second."""
    asked = time.time()
    for address in addresses:
        up = f'up{{instance="{address}"}}'
        prometheus.wait_for(f"timestamp({up}) > {asked + 0.1} and {up} == 1")
    return time.time()


def _recorded(prometheus: PrometheusServer) -> None:
    """Wait until each group of rules, in the order in which they read each other, has read all that was scraped."""
    for last_rule in LAST_RULES:
        asked = time.time()
        prometheus.wait_for(f"max(timestamp({last_rule})) > {asked}")


def _lifetimes(past: Traffic, metric: str, *by: str) -> dict[tuple[str, ...], float]:
    """A raw counter, summed over all three processes."""
    first, _ = past.addresses
    before = past.prometheus.values(
        f'sum by ({",".join(by)}) ({metric}{{instance="{first}"}})', *by, at=past.restarted_at
    )
    now = past.prometheus.values(f"sum by ({','.join(by)}) ({metric})", *by)
    return {key: before.get(key, 0.0) + value for key, value in now.items()}


@pytest.mark.parametrize("name", LABELLED)
def test_raw_counters_over_all_lifetimes_equal_the_ledger(traffic: Traffic, name: str) -> None:
    counted = _lifetimes(traffic, LABELLED[name], "task")
    for task, offline in traffic.ledger.items():
        assert counted[task,] == pytest.approx(offline.sums()[name], abs=1e-6)


def test_every_cell_of_a_raw_counter_equals_the_ledger(traffic: Traffic) -> None:
    cells = defaultdict[tuple[str, ...], float](float)
    for task, offline in traffic.ledger.items():
        for row in offline.rows:
            cells[task, f"{row['bin']:02d}", "abstain" if row["abstain"] else "answer"] += 1
    counted = _lifetimes(traffic, "uq4ct_predictions_by_confidence_total", "task", "bin", "decision")
    assert {key: value for key, value in counted.items() if value} == dict(cells)
    assert len({decision for _, _, decision in cells}) == 2


def test_recorded_quantities_equal_the_ledger_within_the_bound_of_extrapolation(traffic: Traffic) -> None:
    excess = traffic.stretch - 1
    assert excess < 0.05
    for task, offline in traffic.ledger.items():
        slack = _slack(traffic, task, excess)
        for name, expected in offline.quantities().items():
            rule = f"model_version_task:uq4ct_{name}"
            value = traffic.prometheus.values(rule, "task")[task,]
            assert abs(value - expected) <= slack.get(name, abs(expected) * excess) + 1e-9, (rule, value, expected)
        assert offline.quantities()["confidence_gap:z24h"] > 3  # there is miscalibration to detect


def _slack(past: Traffic, task: str, excess: float) -> dict[str, float]:
    """The tolerance of quantities that contain differences: each replica's difference is stretched separately."""
    selected = f'{{task="{task}"}}'
    by = ("instance", "bin")
    raw = {
        name: past.prometheus.values(f"sum by (instance, bin) (increase({metric}{selected}[{WINDOW}]))", *by)
        for name, metric in LABELLED.items()
    }
    total = {name: sum(values.values()) for name, values in raw.items()}
    cells = math.fsum(abs(raw["S"][cell] - raw["C"][cell]) for cell in raw["S"])
    squares = past.prometheus.values(
        f"abs(sum by (instance) (increase({LABELLED['brier']}{selected}[{WINDOW}]))"
        f" - sum by (instance) (increase({LABELLED['V']}{selected}[{WINDOW}])))",
        "instance",
    )
    quantities = past.ledger[task].quantities()
    size = {name: abs(value) for name, value in quantities.items()}
    return {
        "ece:ratio24h": excess * (cells / total["N"] + size["ece:ratio24h"]),
        "confidence_gap:ratio24h": excess * (cells / total["N"] + size["confidence_gap:ratio24h"]),
        "confidence_gap:z24h": excess * (cells / math.sqrt(total["V"]) + size["confidence_gap:z24h"]),
        "spiegelhalter:z24h": excess
        * (sum(squares.values()) / math.sqrt(total["z_variance"]) + size["spiegelhalter:z24h"]),
        "selective_risk:ratio24h": excess,
    }


@pytest.mark.parametrize(
    ("rule", "column", "reference"),
    [("confidence", "confidence", REFERENCE.confidence), ("feu", "feu", REFERENCE.feu)],
)
def test_the_population_stability_index_equals_the_ledger(
    traffic: Traffic, rule: str, column: str, reference: tuple[int, ...]
) -> None:
    values = [row[column] for offline in traffic.ledger.values() for row in offline.rows]
    shares = [count / REFERENCE.questions for count in reference]
    expected = population_stability(values, shares)
    (value,) = traffic.prometheus.values(f"model_version:uq4ct_{rule}:psi24h").values()
    # d/dp of (p - q) ln(p / q) is ln(p / q) + 1 - q / p: with ln(p / q) below ln(1e4), at most 11 p in all.
    assert value == pytest.approx(expected, abs=11 * (traffic.stretch - 1))
    assert expected > 0.25


def test_every_panel_of_both_dashboards_has_data(traffic: Traffic) -> None:
    variables = {"model": "tiny", "version": "1", "task": ".*", "__rate_interval": "30s", "__range": WINDOW}
    expressions = panel_expressions(variables)
    assert len(expressions) > 40
    empty = [one for one in expressions if not _has_number(traffic.prometheus.query(one.expression))]
    assert empty == []


def _has_number(result: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(series["value"][1])) for series in result)


def test_alerts_fire_on_what_is_wrong(traffic: Traffic) -> None:
    """The gap is far too large for chance, so the sequential test alarms too; no alert fires on other problems."""
    raised = {name for (name,) in traffic.prometheus.values("ALERTS", "alertname")}
    assert {"SequentialAlarm", "Miscalibrated"} <= raised
    assert not {"NotReady", "LedgerUnlogged", "QueueNearItsBound", "NoLabels"} & raised


def test_the_ledger_holds_every_question_once(traffic: Traffic) -> None:
    assert sum(len(offline.rows) for offline in traffic.ledger.values()) == 46 * BATCH
