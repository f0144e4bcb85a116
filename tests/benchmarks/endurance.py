"""Hours of mixed traffic on the embedded base model: python -m tests.benchmarks.endurance FOLDER [MINUTES]

Asks single questions and batches, labels the answers, reads calibration, models, metrics and single predictions, sends
requests that are refused, and loads and unloads a second version. Twice a minute a line of `endurance.csv` gets the
process's memory, descriptors and threads, and the sizes of the ledger and its write-ahead log. At the end it draws them
into `endurance.png` and prints how far each moved in the last half.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.benchmarks.served import RunningService, running_service
from tests.benchmarks.small_adapter import publish_small
from tests.many_versions import copy_versions
from uq4ct.model_store.storage.registry import Registry
from uq4ct.training.data import facts

RATE = 2.0  # actions a second
BETWEEN_LINES = 30.0  # seconds
COLUMNS = ("minute", "answers", "memory, MB", "descriptors", "threads", "ledger, MB", "write-ahead log, MB")


class Traffic:
    """Actions of clients; `statuses` counts what came back, by path."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.statuses: Counter[str] = Counter()
        self.answers = 0
        self._client = client
        self._draw = random.Random(0)
        self._bodies = [{"question": q.text, "options": list(q.options)} for q in facts.build().test]
        self._latest = ""
        self._weights: dict[Callable[[], Awaitable[object]], float] = {
            self._ask: 60,
            self._ask_batch: 8,
            self._ask_other_version: 2,
            self._read: 15,
            self._send_nonsense: 10,
            self._unload: 0.5,
        }

    async def act(self) -> None:
        """Do one thing, drawn at random."""
        actions, weights = zip(*self._weights.items(), strict=True)
        (action,) = self._draw.choices(actions, weights)
        await action()

    async def _ask(self, **changes: str) -> None:
        response = await self._send("POST", "/predict", json=self._draw.choice(self._bodies) | changes)
        if response is None or response.status_code != 200:
            return
        self.answers += 1
        self._latest = response.json()["prediction_id"]
        if self._draw.random() < 0.7:
            await self._send("POST", "/feedback", json={"prediction_id": self._latest, "answer": "A"})

    async def _ask_batch(self) -> None:
        questions = self._draw.sample(self._bodies, self._draw.randint(2, 8))
        response = await self._send("POST", "/predict/batch", json={"questions": questions})
        self.answers += len(questions) if response is not None and response.status_code == 200 else 0

    async def _ask_other_version(self) -> None:
        await self._send("POST", "/models/bench@2/load")
        await self._ask(model="bench@2")

    async def _unload(self) -> None:
        await self._send("POST", "/models/bench@2/unload")

    async def _read(self) -> None:
        paths = ["/calibration?window=1h", "/models", "/metrics", "/health/ready", "/", f"/predictions/{self._latest}"]
        await self._send("GET", self._draw.choice(paths))

    async def _send_nonsense(self) -> None:
        bodies: list[object] = [{}, [], {"question": "x" * 10_000, "options": ["a"]}, {"question": "?", "options": 3}]
        await self._send("POST", "/predict", json=self._draw.choice(bodies))

    async def _send(self, method: str, path: str, json: object = None) -> httpx2.Response | None:
        try:
            response = await self._client.request(method, path, json=json)
        except httpx2.TransportError as error:
            self.statuses[f"{path} {type(error).__name__}"] += 1
            return None
        self.statuses[f"{'/predictions/ID' if path.startswith('/predictions') else path} {response.status_code}"] += 1
        return response


async def _run(service: RunningService, ledger: Path, lines: Path, minutes: float) -> Counter[str]:
    begun = time.monotonic()
    async with httpx2.AsyncClient(base_url=service.address, timeout=120) as client:
        traffic = Traffic(client)
        with lines.open("w", encoding="utf-8", newline="") as file:
            write = csv.writer(file)
            write.writerow(COLUMNS)
            async with _acting(traffic):
                while (minute := (time.monotonic() - begun) / 60) < minutes:
                    write.writerow([round(minute, 2), traffic.answers, *_look(service, ledger)])
                    file.flush()
                    await asyncio.sleep(BETWEEN_LINES)
    return traffic.statuses


@asynccontextmanager
async def _acting(traffic: Traffic) -> AsyncIterator[None]:
    """Act at a steady rate until the block ends, whether earlier actions are over or not."""
    open_actions: set[asyncio.Task[None]] = set()

    async def act() -> None:
        while True:
            task = asyncio.create_task(traffic.act())
            open_actions.add(task)
            task.add_done_callback(open_actions.discard)
            await asyncio.sleep(1 / RATE)

    acting = asyncio.create_task(act())
    try:
        yield
    finally:
        acting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await acting
        await asyncio.gather(*open_actions)


def _look(service: RunningService, ledger: Path) -> list[float]:
    """Return the columns from memory on."""
    log = ledger.with_name(f"{ledger.name}-wal")
    sizes = [round(path.stat().st_size / 1e6, 2) if path.exists() else 0.0 for path in (ledger, log)]
    process = service.process
    return [round(service.resident_megabytes, 1), process.num_fds(), process.num_threads(), *sizes]


def summarise(lines: Path) -> None:
    """Draw the columns beside the file, and print their ranges in the last half of the time."""
    with lines.open(encoding="utf-8", newline="") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    late = [row for row in rows if row["minute"] >= rows[-1]["minute"] / 2]
    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(COLUMNS[1:], 1):
        axes = figure.add_subplot(2, 3, place)
        axes.plot([row["minute"] for row in rows], [row[name] for row in rows], linewidth=1)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("minutes", fontsize=8)
        print(f"{name}: {late[0][name]:g} to {late[-1][name]:g}, at most {max(row[name] for row in late):g}")
    figure.savefig(lines.with_suffix(".png"), dpi=110)


def main(folder: Path, minutes: float) -> None:
    """Run, then show."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "endurance.csv"
    with tempfile.TemporaryDirectory() as temporary:
        store, ledger = Path(temporary) / "store", Path(temporary) / "ledger.sqlite3"
        publish_small(Path(temporary), store)
        copy_versions(Registry(store), "bench", 2)
        settings = {"DEFAULT_MODEL": "bench@1", "DATABASE_URL": f"sqlite:///{ledger}"}
        with running_service(store, **settings) as service:
            statuses = asyncio.run(_run(service, ledger, lines, minutes))
    print(dict(sorted(statuses.items())))
    summarise(lines)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 120.0)
