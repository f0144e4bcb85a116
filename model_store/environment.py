"""Environment variables of the project: `UQ4CT_PORT`, or `PORT` for short where nothing else uses that name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PREFIX = "UQ4CT_"


def variable_names(name: str) -> list[str]:
    """Return the two spellings of a variable; if both are set, the first wins."""
    return [PREFIX + name, name]


def read_variable(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the value of a variable under either spelling; None if both are unset or empty.

    Args:
        name: the variable's name without the prefix.
    """
    return next((value for spelling in variable_names(name) if (value := environ.get(spelling))), None)


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
