"""A real Prometheus with the shipped rules, on its own port, that scrapes and evaluates every second.

Increments are recorded every 5 seconds instead of every 5 minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import yaml

from tests.docker.prometheus_rules import INCREMENTS_FILE, PROMETHEUS, render_rules
from tests.ports import free_port

INCREMENT = "5s"
Series = Mapping[tuple[tuple[str, str], ...], float]


@dataclass(frozen=True)
class PrometheusServer:
    """Queries a running Prometheus."""

    address: str

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The instant vector of an expression, now or at a Unix second; AssertionError if the query fails."""
        parameters = {"query": expression} | ({} if at is None else {"time": str(at)})
        reply = httpx2.get(f"{self.address}/api/v1/query", params=parameters, timeout=30).json()
        assert reply["status"] == "success", (expression, reply)
        return reply["data"]["result"]

    def values(self, expression: str, *by: str, at: float | None = None) -> dict[tuple[str, ...], float]:
        """The value of each series of an expression, keyed by the values of these labels."""
        return {
            tuple(series["metric"].get(name, "") for name in by): float(series["value"][1])
            for series in self.query(expression, at)
        }

    def wait_for(self, expression: str, seconds: float = 60) -> None:
        """Wait until the expression has a result."""
        give_up = time.monotonic() + seconds
        while not self.query(expression):
            assert time.monotonic() < give_up, f"{expression} never had a result"
            time.sleep(0.2)


@contextmanager
def running_prometheus(folder: Path, targets: Sequence[str], window: str) -> Iterator[PrometheusServer]:
    """Run Prometheus with the shipped configuration, except for its targets, window and intervals.

    AssertionError if it is not installed.
    """
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing: install it (Debian: apt install prometheus)"
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(path) for path in _fast_rules(folder, window)]
    config["scrape_configs"][0]["static_configs"] = [{"targets": list(targets)}]
    del config["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    port = free_port()
    command = [program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    process = subprocess.Popen(command)
    server = PrometheusServer(f"http://127.0.0.1:{port}")
    try:
        _wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=60)


def _fast_rules(folder: Path, window: str) -> list[Path]:
    """Copy the rules with another window and short increments; evaluate each other group every second."""
    copies = render_rules(folder, window, INCREMENT)
    for copy in copies:
        if copy.name == INCREMENTS_FILE.name:
            continue
        rules = yaml.safe_load(copy.read_text(encoding="utf-8"))
        for group in rules["groups"]:
            group["interval"] = "1s"
        copy.write_text(yaml.safe_dump(rules, sort_keys=False), encoding="utf-8")
    return copies


def _wait_until_ready(server: PrometheusServer, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert process.poll() is None, f"prometheus ended with {process.returncode}"
        try:
            if httpx2.get(f"{server.address}/-/ready", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("prometheus never became ready")
