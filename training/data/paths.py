"""Paths of data files, which a recipe may write with environment variables."""

from __future__ import annotations

import os
import re
from pathlib import Path

from uq4ct.training.data.source import DataError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand_path(text: str) -> Path:
    """The path with every `${NAME}` replaced by that environment variable.

    Raises:
        DataError: a variable is not set or empty; it is named.
    """

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value:
            raise DataError(f"path {text!r}: the environment variable {match[1]} is not set")
        return value

    return Path(_VARIABLE.sub(value_of, text)).expanduser()
