"""Examples of request and response bodies for `/openapi.json`: one file for each class, under its name."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

PREDICTION_ID = "0198f6c2-5a10-7c3e-9b41-2f6d7a8e1c05"
REQUEST_ID = "0198f6c2-5a0e-7d21-8f3a-64c0b9d2e7a1"


@cache
def example_of(name: str) -> Any:
    """Return the example of a class of bodies, in JSON's types."""
    return json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
