from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.forward_cost import ForwardCost


def cost_of(*forwards: tuple[int, float]) -> ForwardCost:
    cost = ForwardCost()
    for tokens, seconds in forwards:
        cost.observe(tokens, seconds)
    return cost


def test_two_forwards_give_the_line_through_them() -> None:
    # 0.1 s for 20 tokens and 0.5 s for 220: 0.002 s a token and 0.06 s beside, which is 30 tokens: below the bound.
    # With 0.7 s for 220: 0.003 s a token and 0.04 s beside. With 0.3: 0.001 s a token and 0.08 s beside, 80 tokens.
    assert cost_of((20, 0.1), (220, 0.3), (20, 0.1)).overhead_tokens == pytest.approx(80)


@given(
    st.floats(1e-5, 1e-2),
    st.floats(40, 5000),
    st.lists(st.integers(10, 4000), min_size=3, max_size=30).filter(lambda sizes: max(sizes) > 2 * min(sizes)),
)
def test_exact_costs_are_found_again(per_token: float, overhead: float, sizes: list[int]) -> None:
    cost = cost_of(*((size, per_token * (overhead + size)) for size in sizes))
    assert cost.overhead_tokens == pytest.approx(overhead, rel=1e-3)


def test_what_cannot_be_told_is_bounded() -> None:
    least = ForwardCost().overhead_tokens
    assert least > 0
    assert cost_of((50, 1.0), (50, 1.1), (50, 0.9)).overhead_tokens == least  # one size tells no line
    assert cost_of((50, 1.0), (100, 3.0), (50, 1.0)).overhead_tokens == least  # more than in proportion
    assert cost_of((50, 1.0), (100, 0.5), (50, 1.0)).overhead_tokens > 1e5  # tokens seem to cost nothing


def test_a_change_of_the_machine_is_followed() -> None:
    cost = cost_of(*((size, 0.001 * (500 + size)) for size in (20, 400) * 50))
    for _ in range(300):
        for size in (20, 400):
            cost.observe(size, 0.001 * (50 + size))
    assert cost.overhead_tokens == pytest.approx(50, rel=0.02)
