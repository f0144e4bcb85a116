"""A counter on the terminal."""

from __future__ import annotations

import sys


def count_on_terminal(done: int, total: int) -> None:
    """Show the number of finished rows on standard error, if it is a terminal."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done:,} of {total:,} rows", end=end, file=sys.stderr, flush=True)
