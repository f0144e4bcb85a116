"""Values of arguments: the numbers of other libraries as Python's own, and what JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

from uq4ct.service.client.errors import InvalidArgumentError

_LONGEST_SHOWN = 80  # characters of a value in a message


def unwrap(value: object) -> object:
    """Return a scalar or an array of another library, such as numpy's, in Python's own types; others as they are."""
    if value is None or isinstance(value, str | int | float | list | tuple | Mapping):
        return value
    converters = (getattr(value, name, None) for name in ("tolist", "item", "__index__"))
    convert = next(filter(callable, converters), None)
    try:
        return value if convert is None else convert()
    except (TypeError, ValueError, RuntimeError):
        return value


def read_number(name: str, value: object, allowed: str, least: float, most: float) -> float:
    """Return a finite number.

    Args:
        allowed: what the message says is allowed.

    Raises:
        InvalidArgumentError: it is none, or not from `least` to `most`.
    """
    number = unwrap(value)
    if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number <= most:
        raise InvalidArgumentError(f"{name}: must be {allowed} (got {show(value)})")
    return number


def read_whole(name: str, value: object, least: int, most: int) -> int:
    """Return a whole number; raises InvalidArgumentError if it is none, or not from `least` to `most`."""
    allowed = f"a whole number, {least} to {most}"
    number = read_number(name, value, allowed, least, most)
    if not isinstance(number, int):
        raise InvalidArgumentError(f"{name}: must be {allowed} (got {show(value)})")
    return number


def check_text(name: str, value: object) -> str:
    """Return a text; raises InvalidArgumentError if it is none, or UTF-8 cannot express it."""
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name}: must be text (got {show(value)})")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"{name}: has a character that UTF-8 cannot express (got {show(value)})") from error
    return value


def read_items(name: str, values: object, kind: str) -> list[Any]:
    """Return what has an order as a list; raises InvalidArgumentError for one text, a mapping, a set and the like."""
    if isinstance(values, str):
        raise InvalidArgumentError(f"{name}: must be several {kind} (got the single text {show(values)})")
    if isinstance(values, bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise InvalidArgumentError(f"{name}: must be several {kind} in an order, such as a list (got {show(values)})")
    return list(values)


def to_json(name: str, value: object) -> Any:
    """Return a value as JSON can hold it; raises InvalidArgumentError, which names the part that it cannot hold."""
    plain = unwrap(value)
    if isinstance(plain, str):
        return check_text(name, plain)
    if isinstance(plain, float) and not math.isfinite(plain):
        raise InvalidArgumentError(f"{name}: must be finite (got {show(value)})")
    if plain is None or isinstance(plain, int | float):
        return plain
    if isinstance(plain, list | tuple):
        return [to_json(f"{name}[{place}]", one) for place, one in enumerate(plain)]
    if isinstance(plain, Mapping):
        return {check_text(f"{name}: key", key): to_json(f"{name}.{key}", one) for key, one in plain.items()}
    raise InvalidArgumentError(f"{name}: must be text, a number, a list or a mapping (got {show(value)})")


def show(value: object) -> str:
    """Return a value for a message, in one line and shortened."""
    text = repr(value).replace("\n", " ")
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
