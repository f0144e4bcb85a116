"""What tests of malformed input share: odd values, and the check that a command refuses its input in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.command_line import uq4ct

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    "no",
    "2",
    2.7,
    -1,
    0,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    [[1]],
    {"a": 1},
    "x\n\0",
    "\ud800",
)


def check_refusal(arguments: list[str], *named: str) -> None:
    """Run a command that must fail with one line on stderr."""
    done = uq4ct(arguments)
    lines = done.stderr.splitlines()
    assert done.exit_code == 1, done.output
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert "Traceback" not in done.output
    for part in named:
        assert part in lines[0]


def make_loop(path: Path) -> None:
    path.symlink_to(path.name)
