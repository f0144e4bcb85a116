"""The peak memory that `uq4ct plan` says, and that of the run: python -m tests.benchmarks.planned_memory [NAME ...]

Each run trains on the facts quiz with the embedded base model, in a process of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = {"data.train_limit": "64", "data.calibration_limit": "60", "training.epochs": "1"}
_LORA = {"method": "lora", "adapter.experts": "1", "adapter.top_k": "1", "adapter.rank": "64", "adapter.alpha": "128"}
_NO_LOSSES = {"loss.calibration": "0", "loss.load_balance": "0"}
CONFIGURATIONS: dict[str, dict[str, str]] = {
    "UQ4CT": {},
    "checkpointing": {"training.checkpointing": "true"},
    "forwards of 200 tokens": {"training.forward_tokens": "200"},
    "4 forwards a step": {"training.accumulation": "4"},
    "LoRA, letters, 32 questions a step": {
        **_LORA, **_NO_LOSSES, "scoring": "{kind: letter}", "training.batch_questions": "32"
    },
    "MixLoRA, block": {
        "method": "mixlora", "adapter.placement": "block", "adapter.mixing": "renormalised", "loss.calibration": "0"
    },
}  # fmt: skip
# Runs a command and prints its ru_maxrss. A process starts with that of the program that started it, so the command
# must not be started by a large one, such as a test run.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def planned_peak(settings: dict[str, str]) -> int:
    """Return the highest of the peaks that `uq4ct plan` prints, in bytes."""
    done = subprocess.run(_command("plan", settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in " ".join(done.stdout.split()).split("peak: ")[1:])
    peaks, _, _ = line.partition(" available")
    return max(int(float(size) * 1e9) for size in re.findall(r"([\d.]+) GB", peaks.rpartition(";")[0]))


def measured_peak(settings: dict[str, str]) -> int:
    """Return the peak memory of the process of `uq4ct train`, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*_command("train", settings), "--output", str(Path(folder) / "run")]
        done = subprocess.run([sys.executable, "-c", _MEASURE, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return 1024 * int(done.stdout.splitlines()[-1])


def _command(verb: str, settings: dict[str, str]) -> list[str]:
    sets = [word for field, value in {**COMMON, **settings}.items() for word in ("--set", f"{field}={value}")]
    return [sys.executable, "-m", "uq4ct", verb, "quickstart", *sets]


def main() -> None:
    """Print a table of configurations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CONFIGURATIONS)}; default: all")
    print("| configuration | planned, GB | measured, GB | planned / measured |\n|---|---|---|---|")
    for name in parser.parse_args().names or CONFIGURATIONS:
        planned, measured = planned_peak(CONFIGURATIONS[name]), measured_peak(CONFIGURATIONS[name])
        print(f"| {name} | {planned / 1e9:.2f} | {measured / 1e9:.2f} | {planned / measured:.3f} |", flush=True)


if __name__ == "__main__":
    main()
