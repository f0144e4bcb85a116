from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uq4ct.model_store.environment import read_variable, variable_names

MAYBE = st.none() | st.text(max_size=5)


@given(MAYBE, MAYBE)
def test_the_prefixed_spelling_wins_and_empty_is_unset(prefixed: str | None, bare: str | None) -> None:
    environ = {name: value for name, value in (("UQ4CT_X", prefixed), ("X", bare)) if value is not None}
    assert read_variable("X", environ) == (prefixed or bare or None)


def test_both_spellings_are_named_with_the_winning_one_first() -> None:
    assert variable_names("DATA_DIR") == ["UQ4CT_DATA_DIR", "DATA_DIR"]
