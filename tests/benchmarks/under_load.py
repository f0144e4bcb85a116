"""`python -m tests.benchmarks.under_load`: the service on the embedded base model, at 80 % and at 10 x its capacity.

The client is a separate process on the same cores. All figures are relative to others of the same run.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from rich.console import Console

from tests.benchmarks.http_load import Plan, Reply, load_generator
from tests.benchmarks.ideal_server import ideal_latencies
from tests.benchmarks.rounds import compare
from tests.benchmarks.served import RunningService, running_service
from tests.benchmarks.small_adapter import publish_small
from uq4ct.model_store.predictor import batches_by_length
from uq4ct.model_store.published import load_predictor
from uq4ct.model_store.questions import Question
from uq4ct.training.data import facts

QUESTIONS = 256
IN_FLIGHT = QUESTIONS  # enough that the worker never waits, few enough that nothing is refused
REPEATS = 4  # of the questions in a round, so that filling and draining the queue weigh little
QUEUE = 128  # MAX_CONCURRENT_REQUESTS of the overload
SECONDS = 60.0
BATCH_TOKENS = 2048
PROBE_SECONDS = 0.2
console = Console(highlight=False, soft_wrap=True)

Send = Callable[[Plan], list[Reply]]


@dataclass(slots=True)
class Probe:
    """Observations of the service while something else runs."""

    live_seconds: list[float] = field(default_factory=list)
    resident_megabytes: list[float] = field(default_factory=list)


def main() -> None:
    """Print every figure."""
    questions = list(facts.build().test[:QUESTIONS])
    bodies = [json.dumps({"question": question.text, "options": question.options}) for question in questions]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        publish_small(Path(folder), store)
        with load_generator() as send:
            with running_service(store) as service:
                unloaded = _unloaded(send, service, bodies)
                _print_ratio(send, service, store, questions, bodies)
                capacity = _capacity(send, service, bodies)
                console.print(f"capacity: {capacity:.1f} questions/s with {IN_FLIGHT} in flight")
                _print_at_80_percent(send, service, bodies, capacity, unloaded)
            with running_service(store, MAX_CONCURRENT_REQUESTS=str(QUEUE)) as service:
                _print_overload(send, service, bodies, capacity)


def _unloaded(send: Send, service: RunningService, bodies: list[str]) -> float:
    """Return the median latency in seconds with one question at a time."""
    median = statistics.median(_seconds(send(Plan(service.port, bodies[:40], connections=1)), 200))
    console.print(f"unloaded: {1000 * median:.0f} ms in the median")
    return median


def _print_ratio(
    send: Send, service: RunningService, store: Path, questions: Sequence[Question], bodies: list[str]
) -> None:
    """Print R8; both sides choose their batches among the same number of questions in flight."""
    predictor = load_predictor("bench", store)

    def in_process() -> None:
        for _ in range(REPEATS):
            encoded = [predictor.encode(question) for question in questions]
            for batch in batches_by_length(encoded, BATCH_TOKENS):
                predictor.answer([encoded[index] for index in batch])

    ratio = compare(lambda: send(Plan(service.port, bodies * REPEATS, IN_FLIGHT)), in_process, rounds=4)
    console.print(f"R8 service / in-process questions a second: {ratio} (aim: 0.95)")


def _capacity(send: Send, service: RunningService, bodies: list[str]) -> float:
    start = time.perf_counter()
    replies = send(Plan(service.port, bodies * REPEATS, IN_FLIGHT))
    return len(_seconds(replies, 200)) / (time.perf_counter() - start)


def _print_at_80_percent(
    send: Send, service: RunningService, bodies: list[str], capacity: float, unloaded: float
) -> None:
    replies = send(Plan(service.port, bodies, connections=32, rate=0.8 * capacity, seconds=SECONDS))
    seconds = _seconds(replies, 200)
    p50, p99 = _quantile(seconds, 0.5) / unloaded, _quantile(seconds, 0.99) / unloaded
    console.print(
        f"at 80 % for {SECONDS:.0f} s: p50 {p50:.1f} and p99 {p99:.1f} times the unloaded latency (aims: 4 and 10); "
        f"{_statuses(replies)}"
    )
    for measured in (capacity, _capacity(send, service, bodies)):  # which changes from minute to minute
        console.print(f"  {_ideal(0.8 * capacity, measured, unloaded)}")


def _ideal(rate: float, capacity: float, unloaded: float) -> str:
    """Describe the latencies of an ideal server of this capacity at that rate."""
    question = 1.0 / capacity
    if rate * question >= 1.0:
        return f"a capacity of {capacity:.1f} questions/s is too little for {rate:.1f}"
    ideal = ideal_latencies(unloaded - question, question, rate, 100_000)
    return (
        f"a server that loses no time, at {capacity:.1f} questions/s: "
        f"p50 {_quantile(ideal, 0.5) / unloaded:.1f} and p99 {_quantile(ideal, 0.99) / unloaded:.1f} times"
    )


def _print_overload(send: Send, service: RunningService, bodies: list[str], capacity: float) -> None:
    send(Plan(service.port, bodies, QUEUE))  # memory as it is after a full queue
    idle = service.resident_megabytes
    with _probing(service) as probe:
        replies = send(Plan(service.port, bodies, connections=QUEUE, rate=10 * capacity, seconds=SECONDS))
    resident = probe.resident_megabytes
    refused, answered = _seconds(replies, 429), _seconds(replies, 200)
    bound = QUEUE / (len(answered) / SECONDS)
    slowest = _slowest_span([reply.ended for reply in replies if reply.status == 200], QUEUE)
    console.print(f"at 10 x capacity for {SECONDS:.0f} s, room for {QUEUE} questions: {_statuses(replies)}")
    console.print(
        f"  429 after {1000 * _quantile(refused, 0.5):.1f} ms in the median (aim: under 50), "
        f"p99 {1000 * _quantile(refused, 0.99):.0f} ms; every one has Retry-After: "
        f"{all(reply.retry_after for reply in replies if reply.status == 429)}"
    )
    console.print(
        f"  admitted: p50 {_quantile(answered, 0.5):.1f} s, p99 {_quantile(answered, 0.99):.1f} s, "
        f"the queue's bound {bound:.1f} s at the mean rate, {slowest:.1f} s at the slowest; "
        f"answered {len(answered) / SECONDS / capacity:.2f} of capacity"
    )
    console.print(
        f"  /health/live: p99 {1000 * _quantile(probe.live_seconds, 0.99):.0f} ms, "
        f"slowest {1000 * max(probe.live_seconds):.0f} ms of {len(probe.live_seconds)} (aim: under 100)"
    )
    console.print(f"  resident memory: {idle:.0f} MB before, then {_trend(resident)}")


def _slowest_span(ended: Sequence[float], answers: int) -> float:
    """Return the longest time in which that many consecutive answers were given."""
    ordered = sorted(ended)
    return max(late - early for early, late in zip(ordered, ordered[answers:], strict=False))


def _trend(resident: Sequence[float]) -> str:
    thirds = [statistics.mean(part) for part in _split(resident, 3)]
    return f"{thirds[0]:.0f}, {thirds[1]:.0f}, {thirds[2]:.0f} MB in the three thirds, {max(resident):.0f} MB at most"


def _split(values: Sequence[float], parts: int) -> list[Sequence[float]]:
    size = len(values) // parts
    return [values[part * size : (part + 1) * size] for part in range(parts)]


@contextmanager
def _probing(service: RunningService) -> Iterator[Probe]:
    probe, ended = Probe(), threading.Event()

    def look() -> None:
        with httpx2.Client(base_url=service.address) as client:
            while not ended.wait(PROBE_SECONDS):
                start = time.perf_counter()
                client.get("/health/live").raise_for_status()
                probe.live_seconds.append(time.perf_counter() - start)
                probe.resident_megabytes.append(service.resident_megabytes)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield probe
    finally:
        ended.set()
        thread.join()


def _seconds(replies: Sequence[Reply], status: int) -> list[float]:
    return [reply.seconds for reply in replies if reply.status == status]


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def _statuses(replies: Sequence[Reply]) -> str:
    counts = sorted(Counter(reply.status for reply in replies).items())
    return ", ".join(f"{count} times {status}" for status, count in counts)


if __name__ == "__main__":
    main()
