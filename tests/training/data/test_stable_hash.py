from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from uq4ct.training.data.stable_hash import digest_of, fraction_of, generator_of, shuffled


def test_the_fraction_is_the_leading_53_bits_of_the_hash() -> None:
    leading = sha256(b"7\x1fsplit").hexdigest()[:16]
    assert fraction_of(7, "split") == (int(leading, 16) // 2**11) / 2**53


@given(st.lists(st.text()))
def test_fractions_lie_in_the_unit_interval(parts: list[str]) -> None:
    assert 0 <= fraction_of(*parts) < 1


def test_fractions_are_spread_evenly() -> None:
    tenths = [0] * 10
    for number in range(20_000):
        tenths[int(fraction_of("even", number) * 10)] += 1
    assert sum((count - 2000) ** 2 / 2000 for count in tenths) < 27.88  # 99.9 % point of chi-square, 9 degrees


def test_parts_do_not_run_into_each_other() -> None:
    assert digest_of("ab", "c") != digest_of("a", "bc")


@given(st.lists(st.text(), unique=True), st.randoms())
def test_the_drawn_order_does_not_depend_on_the_order_before(items: list[str], random) -> None:
    mixed = items.copy()
    random.shuffle(mixed)
    drawn = shuffled(items, "order")
    assert shuffled(mixed, "order") == drawn
    assert sorted(drawn) == sorted(items)


def test_generators_of_equal_parts_draw_the_same_numbers() -> None:
    first, again, other = generator_of("a", 1), generator_of("a", 1), generator_of("a", 2)
    drawn = [first.random() for _ in range(3)]
    assert [again.random() for _ in range(3)] == drawn
    assert [other.random() for _ in range(3)] != drawn
