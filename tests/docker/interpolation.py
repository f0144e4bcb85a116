"""Interpolate variables of a compose file: `$$`, `${NAME:-default}` and `${NAME:+replacement}`, also nested."""

from __future__ import annotations

import re
from collections.abc import Mapping

_OPENING = re.compile(r"\$\$|\$\{(\w+):([-+])")


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Interpolate a value as docker compose does, given the variables of the shell.

    Raises:
        ValueError: the text has a variable in an unsupported form.
    """
    result, position = "", 0
    while found := _OPENING.search(text, position):
        result += _plain(text[position : found.start()])
        if found[0] == "$$":
            result, position = result + "$", found.end()
            continue
        end = _closing(text, found.end())
        value, operand = variables.get(found[1], ""), interpolate(text[found.end() : end], variables)
        result += (value or operand) if found[2] == "-" else (operand if value else "")
        position = end + 1
    return result + _plain(text[position:])


def _closing(text: str, start: int) -> int:
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError(f"{text!r} has an unclosed brace")


def _plain(text: str) -> str:
    if "$" in text:
        raise ValueError(f"{text!r} has a variable in an unsupported form")
    return text
