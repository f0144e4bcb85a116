"""How costs grow with the work: python -m tests.benchmarks.growth FOLDER [ROW ...]

Measures every row of the table, or those named, each in a process of its own, and writes `ROW.json` into the folder at
once. A row whose file is there is not measured again, so that an interrupted run goes on. Prints the table with the
slopes, and draws the curves into `growth.png`. Needs PostgreSQL's and Prometheus's programs, as the slow tests do.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.growth.curves import Curve, table
from tests.benchmarks.growth.drawing import draw

# The module of each row; its function `measure` takes an empty folder and returns the row's curves.
ROWS = ("neighbours", "labels", "ledger", "versions", "adapters", "report", "manifest", "rules", "questions", "load")


def main() -> None:
    """Measure what is missing, then show everything that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where results are kept")
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--measure", choices=ROWS, help="measure one row in this process, and do nothing else")
    arguments = parser.parse_args()
    if unknown := set(arguments.rows) - set(ROWS):
        parser.error(f"rows: {', '.join(sorted(unknown))}; allowed: {', '.join(ROWS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.measure:
        _measure(arguments.measure, arguments.folder)
        return
    failed = [row for row in arguments.rows or ROWS if not _measured(row, arguments.folder)]
    curves = [curve for row in ROWS for curve in _read(arguments.folder / f"{row}.json")]
    if curves:
        print("\n".join(table(curves)))
        draw(curves, arguments.folder / "growth.png")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _measured(row: str, folder: Path) -> bool:
    """Measure a row in another process unless its file is there."""
    if (folder / f"{row}.json").exists():
        return True
    begun = time.monotonic()
    command = [sys.executable, "-m", "tests.benchmarks.growth", str(folder), "--measure", row]
    done = subprocess.run(command, check=False)
    print(f"{row}: {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return done.returncode == 0


def _measure(row: str, folder: Path) -> None:
    module = importlib.import_module(f"tests.benchmarks.growth.{row}")
    with tempfile.TemporaryDirectory() as temporary:
        curves = module.measure(Path(temporary))
    (folder / f"{row}.json").write_text(json.dumps([asdict(curve) for curve in curves], indent=1), encoding="utf-8")


def _read(path: Path) -> list[Curve]:
    return [Curve(**record) for record in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


if __name__ == "__main__":
    main()
