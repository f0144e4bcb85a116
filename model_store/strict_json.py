"""Parse JSON that somebody else may have written: a duplicate key, NaN or Infinity is an error (RFC 8259)."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from typing import Any, NoReturn

_SHOWN_CHARACTERS = 80


class JsonError(ValueError):
    """Text that is not strict JSON; the message is one line."""


class TooManyFieldsError(JsonError):
    """An object has more fields than allowed; the message is one line."""


def parse_json(data: str | bytes, *, most_fields: int | None = None) -> Any:
    """Parse JSON text; bytes are UTF-8.

    Raises:
        TooManyFieldsError: an object has more than `most_fields` fields.
        JsonError: the text is not JSON, an object has a key twice, or a number is not finite or has too many digits.
    """
    hook = partial(_without_duplicates, most_fields=most_fields)
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        return json.loads(text, object_pairs_hook=hook, parse_constant=_reject_constant)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise JsonError("arrays or objects are nested too deeply") from error
    except ValueError as error:  # Python converts no number of more than 4300 digits
        raise JsonError("a number has too many digits") from error


def _without_duplicates(pairs: list[tuple[str, Any]], most_fields: int | None) -> dict[str, Any]:
    if most_fields is not None and len(pairs) > most_fields:
        raise TooManyFieldsError(f"an object has {len(pairs)} fields (limit: {most_fields})")
    record = dict(pairs)
    if len(record) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise JsonError(f"duplicate key {key[:_SHOWN_CHARACTERS]!a} in an object")
    return record


def _reject_constant(constant: str) -> NoReturn:
    raise JsonError(f"{constant} is not a JSON value")
