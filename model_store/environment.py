"""Environment variables of the project: all have the prefix `UQ4CT_`, so that no other program's variable is read."""

from __future__ import annotations

import os
from collections.abc import Mapping

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
