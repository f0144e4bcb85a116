"""Environment variables of the project: `UQ4CT_PORT`, or `PORT` for short where nothing else uses that name."""

from __future__ import annotations

import os
from collections.abc import Mapping

PREFIX = "UQ4CT_"


def variable_names(name: str) -> list[str]:
    """The two spellings of a variable; where both are set, the first wins."""
    return [PREFIX + name, name]


def read_variable(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The value of a variable under either spelling; None where neither is set, or both are empty.

    Args:
        name: without the prefix.
    """
    return next((value for spelling in variable_names(name) if (value := environ.get(spelling))), None)
