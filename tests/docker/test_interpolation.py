from __future__ import annotations

import pytest

from tests.docker.interpolation import interpolate


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("a$$b", {}, "a$b"),
        ("${A:-x}", {}, "x"),
        ("${A:-x}", {"A": "y"}, "y"),
        ("${A:-x}", {"A": ""}, "x"),
        ("${A:+x}${A:-}", {}, ""),
        ("${A:+x}${A:-}", {"A": "y"}, "xy"),
        ("${A:-${B:+<}${B:-z}${B:+>}}!", {"B": "b"}, "<b>!"),
        ("${A:-${B:+<}${B:-z}${B:+>}}!", {}, "z!"),
    ],
)
def test_variables_are_read_as_compose_reads_them(text: str, variables: dict[str, str], expected: str) -> None:
    assert interpolate(text, variables) == expected


@pytest.mark.parametrize("text", ["$A", "${A}", "${A:?x}", "${A:-x"])
def test_another_form_of_variable_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"variable|brace"):
        interpolate(text, {})
