"""What the Makefile runs for a target, as make itself says."""

from __future__ import annotations

import shlex

from tests.readme.terminal import Terminal


def recipe(terminal: Terminal, command: str, *, installed: bool = True) -> list[list[str]]:
    """The words of each line that `make ...` would run, in an environment that is there already or not yet."""
    there = " ".join(f"-o .venv/{name}" for name in ("installed", "installed-dev"))
    printed = terminal.run(f"{shlex.join(shlex.split(command, comments=True))} -n {there if installed else '-B'}")
    return [shlex.split(line) for line in printed.splitlines()]
