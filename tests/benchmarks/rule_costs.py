"""What each recording rule and alert costs in a real Prometheus with a day of samples.

    python -m tests.benchmarks.rule_costs MODELS [FOLDER OF RULES]

Each model has one version and four tasks on one replica. Everything that the rules read over 24 hours is written into
Prometheus's storage first: raw counters every 15 seconds, recorded series every 5 minutes. Then it scrapes the metrics
of a service that has loaded the models. The last line is the time of one evaluation of all groups, and the CPU time of
Prometheus for it, which hardly depends on what else the machine does; it includes the scrapes in between.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import yaml
from prometheus_client import CollectorRegistry, start_http_server
from rich.console import Console

from tests.docker.prometheus_rules import PROMETHEUS
from tests.docker.promtool import promtool
from tests.ports import free_port
from tests.service.served import manifest_of
from uq4ct.service.telemetry.metrics import Metrics

DAY = 86400
BLOCK = 7200  # seconds; promtool reads a whole file once for each block in it
SCRAPE, INCREMENT = 15, 300  # seconds
ROUNDS = 3
TASKS = ("quiz", "triage", "exam")  # and `other`
console = Console(highlight=False, soft_wrap=True)

Series = dict[str, list[str]]  # the labels of each series, written out, by name


def main() -> None:
    """Print the seconds of every rule that takes more than 10 ms, of every group, and of all groups."""
    models = int(sys.argv[1])
    rules = sorted((Path(sys.argv[2]) if len(sys.argv) > 2 else PROMETHEUS / "rules").glob("*.yml"))
    port = free_port()
    registry = _service(models)
    with tempfile.TemporaryDirectory() as folder:
        series = _raw_series(registry, f"127.0.0.1:{port}")
        raw, recorded = _read_over_a_day(rules, series)
        written = _backfill(Path(folder), raw, SCRAPE) + _backfill(Path(folder), recorded, INCREMENT)
        start_http_server(port, "127.0.0.1", registry)
        with _prometheus(Path(folder), rules, f"127.0.0.1:{port}") as (address, process):
            measured = psutil.Process(process.pid)
            _evaluated(address, 1)
            before = sum(measured.cpu_times()[:2])
            groups = _evaluated(address, ROUNDS)
            cpu = (sum(measured.cpu_times()[:2]) - before) / ROUNDS
            memory = measured.memory_info().rss
    count = sum(map(len, series.values()))
    console.print(f"{models} models, {len(TASKS) + 1} tasks: {count} series, {written / 1e6:.1f} million samples a day")
    _print(groups)
    seconds = sum(group["evaluationTime"] for group in groups)
    console.print(f"all groups: {seconds:.3f} s, {cpu:.3f} CPU-seconds; memory of Prometheus: {memory >> 20} MiB")


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


def _backfill(folder: Path, series: Series, step: int) -> int:
    """Write a day of samples up to now into the storage; return their number."""
    end = int(time.time()) // step * step
    start = end - DAY
    count = 0
    for begin in range(start // BLOCK * BLOCK, end, BLOCK):
        times = range(max(begin, start), min(begin + BLOCK, end), step)
        path = folder / "samples.txt"
        with path.open("w", encoding="utf-8") as file:
            for name, all_labels in series.items():
                file.write(f"# TYPE {name} unknown\n")
                for labels in all_labels:
                    file.write("".join(f"{name}{{{labels}}} {(at - start) // 7} {at}\n" for at in times))
                    count += len(times)
            file.write("# EOF\n")
        if series:
            promtool("tsdb", "create-blocks-from", "openmetrics", path, folder / "tsdb")
        path.unlink()
    return count


@contextmanager
def _prometheus(folder: Path, rules: list[Path], target: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Prometheus as it ships, but it evaluates every group three times a minute."""
    copies = []
    for path in rules:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in document["groups"]:
            group["interval"] = "20s"
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
        yield f"http://{address}", process
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


def _print(groups: list[dict[str, Any]]) -> None:
    for group in groups:
        console.print(f"{group['name']}: {group['evaluationTime']:.3f} s")
        for rule in sorted(group["rules"], key=lambda one: -one["evaluationTime"]):
            if rule["evaluationTime"] > 0.01:
                console.print(f"  {rule['evaluationTime']:.3f} s  {rule['name']}")


if __name__ == "__main__":
    main()
