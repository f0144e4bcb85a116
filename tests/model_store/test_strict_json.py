"""Strict JSON: what `json` writes is read back, and nothing that RFC 8259 forbids is read."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.strict_json import JsonError, TooManyFieldsError, parse_json

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(VALUES)
def test_what_json_writes_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\xff", "byte 0 is not UTF-8"),
        (b"", "Expecting value at character 0"),
        (b"[1, ]", "at character 4"),
        (b"[NaN]", "NaN is not a JSON value"),
        (b"[-Infinity]", "-Infinity is not a JSON value"),
        (b'[{"a": {"b": 1, "c": 2, "b": 1}}]', "duplicate key 'b' in an object"),
        ('{"é": 1, "é": 2}'.encode(), r"duplicate key '\xe9' in an object"),
        (b"[" * 100_000, "arrays or objects are nested too deeply"),
        (b"9" * 5000, "a number has too many digits"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_the_standard_forbids_is_an_error_of_one_line(data: bytes, complaint: str) -> None:
    with pytest.raises(JsonError) as error:
        parse_json(data)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_the_fields_of_an_object_are_bounded_on_request() -> None:
    assert parse_json(b'[{"a": 1, "b": 2}, {"c": 3}]', most_fields=2) == [{"a": 1, "b": 2}, {"c": 3}]
    with pytest.raises(TooManyFieldsError, match=r"an object has 3 fields \(limit: 2\)"):
        parse_json(b'{"x": {"a": 1, "b": 2, "c": 3}}', most_fields=2)


def test_a_duplicate_among_many_keys_is_found_in_linear_time() -> None:
    keys = [*range(200_000), 199_999]
    text = "{" + ",".join(f'"{key}":0' for key in keys) + "}"
    start = time.process_time()
    with pytest.raises(JsonError, match="duplicate key '199999'"):
        parse_json(text)
    assert time.process_time() - start < 5  # comparing each key with all before it takes minutes
