"""Every attack against the real service with either parser, and what a probe sees meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.served import RunningService, running_service
from tests.command_line import uq4ct
from tests.service.attacks.hostile import ATTACKS, Statuses
from tests.service.attacks.watch import watching

PARSERS = ("h11", "httptools")
DESCRIPTORS = 1024
SECONDS = 5.0
WITHOUT_KEYS = frozenset({"foreign pages", "scrapers", "documentation"})
_TASKS = ",".join(f"task{number}" for number in range(20))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back from an attack, and the probes during it: milliseconds and megabytes above a quiet service."""

    parser: str
    attack: str
    statuses: Statuses
    live_p50: float
    live_p99: float
    memory_above_quiet: float

    @property
    def unexpected(self) -> set[str]:
        return set(self.statuses) - ATTACKS[self.attack].allowed


def run_suite(store: Path, model: str, folder: Path, seconds: float = SECONDS) -> Iterator[Outcome]:
    """Run all attacks, those that need keys first; yield also the outcome of no attack, under the name `quiet`."""
    for parser in PARSERS:
        for needs_key in (True, False):
            names = [name for name in ATTACKS if (name not in WITHOUT_KEYS) == needs_key]
            settings = {"HTTP_PARSER": parser, "DTYPE": "float32", "TASKS": _TASKS}
            key = _make_key(folder, settings) if needs_key else None
            with running_service(store, DESCRIPTORS, **settings) as service:
                quiet = _watch_quiet(service, parser)
                if needs_key:
                    yield quiet
                for name in names:
                    yield _attack(service, parser, name, model, key, seconds, quiet.memory_above_quiet)


def _make_key(folder: Path, settings: dict[str, str]) -> str:
    file = folder / f"{settings['HTTP_PARSER']}.json"
    settings["API_KEYS_FILE"] = str(file)
    return uq4ct(["keys", "new", "--file", str(file), "--scopes", "predict,feedback,admin"]).stdout.split()[0]


def _watch_quiet(service: RunningService, parser: str) -> Outcome:
    """Watch a service that nothing happens to; its memory is that of the process, in megabytes."""
    with watching(service) as watch:
        subprocess.run([sys.executable, "-c", "import time; time.sleep(2)"], check=True)
    return Outcome(parser, "quiet", Counter(), 1000 * watch.p50, 1000 * watch.p99, watch.memory)


def _attack(
    service: RunningService, parser: str, name: str, model: str, key: str | None, seconds: float, quiet_memory: float
) -> Outcome:
    command = [sys.executable, "-m", "tests.service.attacks.send", name, str(service.port), model, str(seconds)]
    with watching(service) as watch:
        done = subprocess.run([*command, *([key] if key else [])], check=True, capture_output=True, text=True)
    statuses = Counter(json.loads(done.stdout))
    return Outcome(parser, name, statuses, 1000 * watch.p50, 1000 * watch.p99, watch.memory - quiet_memory)
