"""Attack a service with the embedded base model and print what it did: python -m tests.service.attacks [SECONDS]."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.benchmarks.small_adapter import publish_small
from tests.service.attacks.suite import SECONDS, run_suite

if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    print("| parser | attack | statuses | live p50, ms | live p99, ms | memory above quiet, MB |")
    print("|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        publish_small(Path(folder), store)
        for outcome in run_suite(store, "bench", Path(folder), seconds):
            statuses = ", ".join(f"{status} x {count}" for status, count in sorted(outcome.statuses.items()))
            print(
                f"| {outcome.parser} | {outcome.attack} | {statuses} | {outcome.live_p50:.1f} | {outcome.live_p99:.1f} "
                f"| {outcome.memory_above_quiet:.0f} |",
                flush=True,
            )
