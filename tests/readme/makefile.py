"""List the commands that make runs for a target."""

from __future__ import annotations

import shlex

from tests.readme.terminal import Terminal


def recipe(terminal: Terminal, command: str, *, installed: bool = True) -> list[list[str]]:
    """The words of each command that `make ...` would run, with or without an installed environment."""
    there = " ".join(f"-o .venv/{name}" for name in ("installed", "installed-dev"))
    printed = terminal.run(f"{shlex.join(shlex.split(command, comments=True))} -n {there if installed else '-B'}")
    return [shlex.split(line) for line in printed.replace("\\\n", "").splitlines()]
