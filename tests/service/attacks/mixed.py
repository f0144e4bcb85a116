"""Random attacks beside an honest client: python -m tests.service.attacks.mixed [MINUTES] [embedded].

The base model is the tests' tiny one, so that every machine can answer all honest questions, or the embedded one.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.benchmarks.growth.tiny import publish_tiny
from tests.benchmarks.served import RunningService, running_service
from tests.benchmarks.small_adapter import publish_small
from tests.command_line import uq4ct
from tests.service.attacks.hostile import ATTACKS
from tests.service.attacks.suite import DESCRIPTORS, WITHOUT_KEYS
from tests.service.attacks.watch import watching
from uq4ct.training.data import facts

RATE = 10.0  # honest questions a second
_ATTACK_SECONDS = 5.0
_SHOWN = 60.0  # seconds between two lines of the table


@dataclass
class Honest:
    """What an honest client saw: statuses, errors, seconds of each answer, and the labels that were acknowledged."""

    statuses: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0
    seconds: list[float] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)

    async def ask(self, client: httpx2.AsyncClient, body: dict[str, object]) -> None:
        """Ask one question, and report a label for its answer."""
        begun = time.monotonic()
        answer = await self._post(client, "/predict", body)
        if answer is None or answer.status_code != 200:
            return
        self.seconds.append(time.monotonic() - begun)
        prediction_id = answer.json()["prediction_id"]
        label = await self._post(client, "/feedback", {"prediction_id": prediction_id, "answer": "A"})
        if label is not None and label.status_code == 200:
            self.labels[prediction_id] = "A"

    async def _post(self, client: httpx2.AsyncClient, path: str, body: dict[str, object]) -> httpx2.Response | None:
        try:
            response = await client.post(path, json=body)
        except httpx2.TransportError as error:
            self.statuses[f"{path} {type(error).__name__}"] += 1
            return None
        self.statuses[f"{path} {response.status_code}"] += 1
        if response.status_code in (429, 503):
            self.without_retry_after += "retry-after" not in response.headers
        return response


@asynccontextmanager
async def _asking(client: httpx2.AsyncClient, honest: Honest) -> AsyncIterator[None]:
    """Ask at a steady rate, whether answers have come or not, until the block ends."""
    bodies = [{"question": q.text, "options": list(q.options)} for q in facts.build().test[:200]]
    asked: set[asyncio.Task[None]] = set()

    async def ask() -> None:
        due = time.monotonic()
        while True:
            task = asyncio.create_task(honest.ask(client, random.choice(bodies)))
            asked.add(task)
            task.add_done_callback(asked.discard)
            due += 1 / RATE
            await asyncio.sleep(max(due - time.monotonic(), 0))

    asking = asyncio.create_task(ask())
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.gather(asking, *asked, return_exceptions=True)


async def _attack(service: RunningService, key: str, until: float, sent: Counter[str]) -> None:
    names = [name for name in ATTACKS if name not in WITHOUT_KEYS or name == "scrapers"]
    while time.monotonic() < until:
        name = random.choice(names)
        command = [sys.executable, "-m", "tests.service.attacks.send", name, str(service.port), "bench"]
        process = await asyncio.create_subprocess_exec(*command, str(_ATTACK_SECONDS), key, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        sent.update({f"{name}: {status}": count for status, count in json.loads(out).items()})


async def _run(service: RunningService, key: str, minutes: float) -> Honest:
    honest, sent, begun = Honest(), Counter[str](), time.monotonic()
    until = begun + 60 * minutes
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(base_url=service.address, headers=headers, timeout=60) as client,
        _asking(client, honest),
    ):
        attack = asyncio.create_task(_attack(service, key, until, sent))
        print(
            "| minute | memory, MB | live p50, ms | live p99, ms | answers | answer p50, s |\n|---|---|---|---|---|---|"
        )
        while time.monotonic() < until:
            before = len(honest.seconds)
            with watching(service) as watch:
                await asyncio.sleep(min(_SHOWN, max(until - time.monotonic(), 2.0)))
            latest = honest.seconds[before:] or [float("nan")]
            print(
                f"| {(time.monotonic() - begun) / 60:.0f} | {watch.memory:.0f} | {1000 * watch.p50:.1f} | "
                f"{1000 * watch.p99:.1f} | {len(latest)} | {statistics.median(latest):.2f} |",
                flush=True,
            )
        await attack
    print("attacks:", dict(sorted(sent.items())))
    return honest


def main(minutes: float, publish: Callable[[Path, Path], None]) -> None:
    """Publish `bench`, run, then compare the acknowledged labels with the ledger."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        keys, exported = folder / "keys.json", folder / "ledger.jsonl"
        key = uq4ct(["keys", "new", "--file", str(keys), "--scopes", "predict,feedback,admin"]).stdout.split()[0]
        publish(folder, folder / "store")
        ledger = {"DATABASE_URL": f"sqlite:///{folder}/ledger.sqlite3"}
        settings = {"API_KEYS_FILE": str(keys), "TASKS": ",".join(f"task{n}" for n in range(20)), **ledger}
        with running_service(folder / "store", DESCRIPTORS, **settings) as service:
            honest = asyncio.run(_run(service, key, minutes))
        environment = {f"UQ4CT_{name}": value for name, value in ledger.items()}
        uq4ct(["ledger", "export", "--output", str(exported)], environment)
        stored = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()]
    labelled = {row["prediction_id"] for row in stored if row["label"] is not None}
    print("honest:", dict(sorted(honest.statuses.items())), "without Retry-After:", honest.without_retry_after)
    print("labels acknowledged:", len(honest.labels), "of them missing:", len(set(honest.labels) - labelled))


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 30.0,
        publish_small if sys.argv[2:] == ["embedded"] else publish_tiny,
    )
