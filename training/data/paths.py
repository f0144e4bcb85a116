"""Paths of data files: environment variables, and where relative paths are looked up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uq4ct.model_store.environment import PREFIX, read_variable, variable_name
from uq4ct.training.data.source import DataError

_FILE_SOURCES = ("csv", "jsonl", "table")
_FILE_FIELDS = ("train", "calibration", "test")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expand_path(text: str) -> Path:
    """Return the path with every `${NAME}` or `${UQ4CT_NAME}` replaced by the environment variable UQ4CT_NAME.

    Raises:
        DataError: a variable is unset or empty, or `~` has no home folder; the message names it.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match[1].removeprefix(PREFIX)
        value = read_variable(name)
        if value is None:
            raise DataError(
                f"path {text!r}: the environment variable {variable_name(name)} is not set: set it to the folder that "
                f"{match[0]} means"
            )
        return value

    try:
        return Path(_VARIABLE.sub(value_of, text)).expanduser()
    except RuntimeError as error:
        raise DataError(f"path {text!r}: {error}") from error


def explain_variables(text: str) -> str:
    """Return the value of each `${NAME}` in a path, as the end of an error message; empty if there is none."""
    names = dict.fromkeys(match[1].removeprefix(PREFIX) for match in _VARIABLE.finditer(text))
    return "".join(
        f"; ${{{name}}} is the environment variable {variable_name(name)}, {read_variable(name)!r}" for name in names
    )


def locate_files(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the data section of a recipe in `folder`, with absolute paths for the files that are found there.

    Other paths stay as they are; relative ones are read from the working folder.
    """
    located = dict(data)
    if data.get("source") not in _FILE_SOURCES:
        return located
    for name in _FILE_FIELDS:
        if name in data:
            located[name] = _locate(data[name], folder)
    if isinstance(data.get("shift"), Mapping):
        located["shift"] = {name: _locate(path, folder) for name, path in data["shift"].items()}
    return located


def _locate(path: Any, folder: Path) -> Any:
    if isinstance(path, str) and not Path(path).is_absolute() and (folder / path).is_file():
        return str((folder / path).resolve())
    return path
