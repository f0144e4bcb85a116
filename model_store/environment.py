"""Environment variables of the project: all have the prefix `UQ4CT_`, so that no other program's variable is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PREFIX = "UQ4CT_"


def variable_name(name: str) -> str:
    """Return the full name of a variable.

    Args:
        name: the variable's name without the prefix.
    """
    return PREFIX + name


def read_variable(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the value of a variable; None if it is unset or empty.

    Args:
        name: the variable's name without the prefix.
    """
    return environ.get(variable_name(name)) or None


def split_paths(text: str) -> tuple[Path, ...]:
    """Split a list of paths as in PATH: at `:`, on Windows at `;`."""
    return tuple(Path(path).expanduser() for path in text.split(os.pathsep) if path)


@contextmanager
def hidden_variable(name: str) -> Iterator[None]:
    """Remove a variable from this process's environment until the block ends."""
    value = os.environ.pop(name, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[name] = value
