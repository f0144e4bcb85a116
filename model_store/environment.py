"""Environment variables of the project: `UQ4CT_PORT`, or `PORT` for short where nothing else uses that name."""

from __future__ import annotations

import os
from collections.abc import Mapping

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
