"""Parse JSON of files that somebody else may have written: a duplicate key, NaN or Infinity is an error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

_SHOWN_CHARACTERS = 80


class JsonError(ValueError):
    """Text that is not strict JSON; the message is one line."""


def parse_json(data: str | bytes) -> Any:
    """Parse JSON text; bytes are UTF-8.

    Raises:
        JsonError: the text is not JSON, an object has a key twice, or a number is not finite or has too many digits.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_reject_constant)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise JsonError(str(error)) from error
    except RecursionError as error:
        raise JsonError("lists or objects are nested too deeply") from error
    except ValueError as error:  # Python converts no number of more than 4300 digits
        raise JsonError("a number has too many digits") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for index, key in enumerate(keys) if key in keys[:index])
        raise JsonError(f"duplicate key {twice[:_SHOWN_CHARACTERS]!r}")
    return record


def _reject_constant(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is not a number in JSON")
