"""Paths of data files, which a recipe may write with environment variables."""

from __future__ import annotations

import re
from pathlib import Path

from uq4ct.model_store.environment import read_variable, variable_names
from uq4ct.training.data.source import DataError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand_path(text: str) -> Path:
    """The path with every `${NAME}` replaced by the environment variable UQ4CT_NAME or NAME.

    Raises:
        DataError: a variable is not set or empty; it is named.
    """

    def value_of(match: re.Match[str]) -> str:
        value = read_variable(match[1])
        if value is None:
            names = " nor ".join(variable_names(match[1]))
            raise DataError(f"path {text!r}: neither {names} is set in the environment")
        return value

    return Path(_VARIABLE.sub(value_of, text)).expanduser()
