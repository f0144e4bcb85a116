"""Row 10: what all recording rules and alerts cost in a real Prometheus with a day of samples.

Each model has one version and four tasks on one replica. Everything that the rules read over 24 hours is written into
Prometheus's storage first: raw counters every 15 seconds, recorded series every 5 minutes. Then it scrapes the metrics
of a service that has loaded the models.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml
from prometheus_client import CollectorRegistry, start_http_server

from tests.benchmarks.growth.curves import Curve
from tests.docker.prometheus_rules import PROMETHEUS
from tests.docker.promtool import promtool
from tests.ports import free_port
from tests.service.served import manifest_of
from uq4ct.service.telemetry.metrics import Metrics

MODELS = (2, 8, 20, 50)
DAY = 86400
BLOCK = 7200  # seconds; promtool reads a whole file once for each block in it
SCRAPE, INCREMENT = 15, 300  # seconds
ROUNDS = 2
_A_MINUTE = {"15s": 4.0, "1m": 1.0, "5m": 0.2}  # evaluations at these intervals
TASKS = ("quiz", "triage", "exam")  # and `other`

Series = dict[str, list[str]]  # the labels of each series, written out, by name


def measure(folder: Path) -> list[Curve]:
    """Return the seconds that Prometheus needs in a minute for all groups, each as often as its interval says."""
    points = []
    for models in MODELS:
        own = folder / str(models)
        own.mkdir()
        points.append((models, _seconds_a_minute(own, models)))
    return [Curve("10", "rules, s a minute", "models of 4 tasks", points, most=10.0)]


def _seconds_a_minute(folder: Path, models: int) -> float:
    rules = sorted((PROMETHEUS / "rules").glob("*.yml"))
    port = free_port()
    registry = _service(models)
    series = _raw_series(registry, f"127.0.0.1:{port}")
    raw, recorded = _read_over_a_day(rules, series)
    _backfill(folder, raw, SCRAPE)
    _backfill(folder, recorded, INCREMENT)
    server, thread = start_http_server(port, "127.0.0.1", registry)
    try:
        with _prometheus(folder, rules, f"127.0.0.1:{port}") as address:
            groups = _evaluated(address, ROUNDS)
    finally:
        server.shutdown()
        thread.join()
    documents = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in rules)
    a_minute = {group["name"]: _A_MINUTE[group["interval"]] for document in documents for group in document["groups"]}
    return sum(group["evaluationTime"] * a_minute[group["name"]] for group in groups)


def _service(models: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = Metrics(registry, TASKS)
    for number in range(models):
        metrics.announce_model(manifest_of().model_copy(update={"name": f"model-{number}"}))
    return registry


def _raw_series(registry: CollectorRegistry, instance: str) -> Series:
    series: Series = {}
    for family in registry.collect():
        for sample in family.samples:
            series.setdefault(sample.name, []).append(_written({**sample.labels, "instance": instance, "job": "uq4ct"}))
    return series


def _written(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))


def _read_over_a_day(rules: list[Path], series: Series) -> tuple[Series, Series]:
    """The raw and the recorded series that a rule reads over 24 hours."""
    expressions = {
        rule.get("record", ""): rule["expr"]
        for path in rules
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    read = {
        name
        for expression in expressions.values()
        for name in re.findall(r"([\w:]+)(?:\{[^}]*\})?\[(?:24h|23h59m59s)\]", expression)
    }
    recorded: Series = {}
    for name in sorted(read - set(series)):
        source = next(metric for metric in series if re.search(rf"\b{metric}\[5m\]", expressions[name]))
        kept = re.search(r"by \(([^)]*)\)", expressions[name])
        recorded[name] = series[source] if kept is None else sorted({_only(one, kept[1]) for one in series[source]})
    return {name: series[name] for name in sorted(read & set(series))}, recorded


def _only(labels: str, names: str) -> str:
    kept = set(names.split(", "))
    return _written({name: value for name, value in re.findall(r'(\w+)="([^"]*)"', labels) if name in kept})


def _backfill(folder: Path, series: Series, step: int) -> None:
    """Write a day of samples up to now into the storage."""
    end = int(time.time()) // step * step
    start = end - DAY
    for begin in range(start // BLOCK * BLOCK, end, BLOCK):
        times = range(max(begin, start), min(begin + BLOCK, end), step)
        path = folder / "samples.txt"
        with path.open("w", encoding="utf-8") as file:
            for name, all_labels in series.items():
                file.write(f"# TYPE {name} unknown\n")
                for labels in all_labels:
                    file.write("".join(f"{name}{{{labels}}} {(at - start) // 7} {at}\n" for at in times))
            file.write("# EOF\n")
        if series:
            promtool("tsdb", "create-blocks-from", "openmetrics", path, folder / "tsdb")
        path.unlink()


@contextmanager
def _prometheus(folder: Path, rules: list[Path], target: str) -> Iterator[str]:
    """Prometheus as it ships, but it evaluates every group six times a minute."""
    copies = []
    for path in rules:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in document["groups"]:
            group["interval"] = "10s"
        copy = folder / path.name
        copy.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        copies.append(str(copy))
    config = {
        "global": {"scrape_interval": f"{SCRAPE}s", "scrape_timeout": "14s"},
        "rule_files": copies,
        "scrape_configs": [{"job_name": "uq4ct", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    process = subprocess.Popen([*command, f"--web.listen-address={address}", "--log.level=error"])
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _evaluated(address: str, rounds: int) -> list[dict[str, Any]]:
    """The groups of rules after each has been evaluated `rounds` times more; RuntimeError if a rule failed."""
    seen: dict[str, set[str]] = {}
    give_up = time.monotonic() + 280
    while time.monotonic() < give_up:
        time.sleep(2)
        try:
            groups = httpx2.get(f"{address}/api/v1/rules", timeout=30).json()["data"]["groups"]
        except (httpx2.TransportError, ValueError):
            continue
        for group in groups:
            if not group["lastEvaluation"].startswith("0001"):
                seen.setdefault(group["name"], set()).add(group["lastEvaluation"])
        failed = [rule["lastError"] for group in groups for rule in group["rules"] if rule["health"] == "err"]
        if failed:
            raise RuntimeError(failed[0])
        if groups and all(len(seen.get(group["name"], ())) > rounds for group in groups):
            return groups
    raise TimeoutError(f"the groups were not evaluated {rounds} times: {seen}")
