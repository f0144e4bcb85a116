from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.environment import read_variable, variable_name

MAYBE = st.none() | st.text(max_size=5)


@given(MAYBE, MAYBE)
def test_only_the_prefixed_name_is_read_and_empty_is_unset(prefixed: str | None, bare: str | None) -> None:
    environ = {name: value for name, value in (("UQ4CT_X", prefixed), ("X", bare)) if value is not None}
    assert read_variable("X", environ) == (prefixed or None)


def test_a_name_has_the_prefix() -> None:
    assert variable_name("DATA_DIR") == "UQ4CT_DATA_DIR"
