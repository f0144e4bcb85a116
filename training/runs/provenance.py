"""The version of the code that made a run."""

from __future__ import annotations

import subprocess
from pathlib import Path


def code_commit() -> str | None:
    """Return the commit of the running checkout, with `+changes` if it has uncommitted changes; None elsewhere."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no") else head


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, encoding="utf-8", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
