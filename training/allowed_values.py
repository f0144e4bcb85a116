"""The values that a field allows, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


def describe_allowed(schema: Mapping[str, Any]) -> str:
    """Return the values that the JSON schema of a field allows; empty if the type alone defines them."""
    if "anyOf" in schema:
        kinds = [describe_allowed(kind) or str(kind.get("type", "a section")) for kind in schema["anyOf"]]
        return " or ".join(kind for kind in kinds if kind != "null") + (" or null" if "null" in kinds else "")
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "pattern" in schema:
        return f"matches {schema['pattern']}"
    return " and ".join(f"{words} {schema[bound]:g}" for bound, words in _BOUNDS.items() if bound in schema)
