"""Run promtool, Prometheus's own checker; the slow tests that use it fail if it is not installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def promtool(*arguments: str | Path) -> None:
    """Run promtool; AssertionError if it is not installed or rejects its input."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is missing: install Prometheus (Debian: apt install prometheus)"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
